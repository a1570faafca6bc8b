// Parses the head of an HTTP/1.1 request (RFC 9112), as far as this server needs it.
//
// Must never take the body of one request for the start of the next. Must never read without a bound.

internal import Wire

/// A request whose complete head has arrived.
struct HTTPRequest: Equatable {
    let method: String
    /// The path of the resource, without a query: "/status.json".
    let path: String
    /// Whether the connection may stay open after the response.
    let keepsAlive: Bool

    /// The result of parsing.
    enum Parsed: Equatable {
        /// The request, and how many bytes its head took.
        case complete(HTTPRequest, length: Int)
        case incomplete
        /// The status of the response, after which the connection ends.
        case faulty(Int)
    }

    /// The longest head in bytes, including blank lines before it.
    static let longestHead = 8 * 1024

    /// Parses the request at the start of `input`.
    static func parse(_ input: ArraySlice<UInt8>) -> Parsed {
        // Blank lines before a request are skipped (RFC 9112, section 2.2).
        let start = input.firstIndex { $0 != carriageReturn && $0 != lineFeed } ?? input.endIndex
        let rest = input[start...]
        let end = endOfHead(rest)
        guard (end ?? input.endIndex) - input.startIndex <= longestHead else {
            let firstLineEnd = rest.firstIndex(of: lineFeed) ?? input.endIndex
            return .faulty(firstLineEnd - input.startIndex > longestHead ? 414 : 431)
        }
        guard let end else { return .incomplete }
        let lines = rest[..<end].split(separator: lineFeed, omittingEmptySubsequences: false)
            .map { $0.last == carriageReturn ? $0.dropLast() : $0 }
        do throws(Fault) {
            guard let first = lines.first else { throw .status(400) }
            let line = try RequestLine(first)
            let fields = try Fields(lines.dropFirst().filter { !$0.isEmpty })
            // There must be exactly one Host field. A request of HTTP/1.0 may have none (RFC 9112, section 3.2).
            guard fields.hosts == 1 || (line.minor == 0 && fields.hosts == 0) else { throw .status(400) }
            let request = HTTPRequest(
                method: line.method, path: line.path, keepsAlive: line.minor >= 1 && !fields.asksToClose)
            return .complete(request, length: end - input.startIndex)
        } catch {
            switch error {
            case .status(let status): return .faulty(status)
            }
        }
    }

    fileprivate enum Fault: Error { case status(Int) }

    private static let carriageReturn = UInt8(ascii: "\r"), lineFeed = UInt8(ascii: "\n")

    /// The position after the empty line that ends the head, or nil if there is none yet.
    private static func endOfHead(_ bytes: ArraySlice<UInt8>) -> Int? {
        var position = bytes.startIndex
        while let feed = bytes[position...].firstIndex(of: lineFeed) {
            var next = feed + 1
            if next < bytes.endIndex, bytes[next] == carriageReturn { next += 1 }
            if next < bytes.endIndex, bytes[next] == lineFeed { return next + 1 }
            position = feed + 1
        }
        return nil
    }
}

/// `GET /status.json HTTP/1.1`
private struct RequestLine {
    let method: String
    let path: String
    let minor: Int

    init(_ line: ArraySlice<UInt8>) throws(HTTPRequest.Fault) {
        let words = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard words.count == 3, isToken(words[0]), !words[1].isEmpty,
            words[1].allSatisfy({ (0x21...0x7E).contains($0) })
        else { throw .status(400) }
        method = String(decoding: words[0], as: UTF8.self)
        minor = try Self.minor(words[2])
        path = try Self.path(String(decoding: words[1], as: UTF8.self), isOptions: method == "OPTIONS")
    }

    /// The minor version. A later HTTP/1 must be answered as 1.1 (RFC 9110, section 2.5).
    private static func minor(_ word: ArraySlice<UInt8>) throws(HTTPRequest.Fault) -> Int {
        let digits = Array(word.dropFirst(5))
        guard word.starts(with: "HTTP/".utf8), digits.count == 3, digits[0].isDigit, digits[1] == UInt8(ascii: "."),
            digits[2].isDigit
        else { throw .status(400) }
        guard digits[0] == UInt8(ascii: "1") else { throw .status(505) }
        return min(Int(digits[2] - UInt8(ascii: "0")), 1)
    }

    /// The path of `/path?query`, or of a whole URL, which a proxy may send (RFC 9112, section 3.2).
    private static func path(_ target: String, isOptions: Bool) throws(HTTPRequest.Fault) -> String {
        var rest = target[...]
        if isOptions && target == "*" { return target }
        for scheme in ["https://", "http://"] where target.lowercased().hasPrefix(scheme) {
            let behind = target.dropFirst(scheme.count)
            rest = behind.firstIndex { $0 == "/" || $0 == "?" }.map { behind[$0...] } ?? "/"
            if rest.hasPrefix("?") { return "/" }
        }
        guard rest.hasPrefix("/") else { throw .status(400) }
        return String(rest.prefix { $0 != "?" })
    }
}

/// The header fields that matter to this server.
private struct Fields {
    var hosts = 0
    var asksToClose = false

    init(_ lines: [ArraySlice<UInt8>]) throws(HTTPRequest.Fault) {
        var hasContent = false
        for line in lines {
            let (name, value) = try Self.field(line)
            switch name {
            case "host": hosts += 1
            case "connection":
                let options = value.split(separator: ",").map { trimmed($0).lowercased() }
                if options.contains("close") { asksToClose = true }
            // No resource takes a body, and to skip one correctly is more than this server should do.
            case "transfer-encoding": throw .status(501)
            case "content-length":
                guard !value.isEmpty, value.utf8.allSatisfy(\.isDigit) else { throw .status(400) }
                if value.utf8.contains(where: { $0 != UInt8(ascii: "0") }) { hasContent = true }
            default: break
            }
        }
        if hasContent { throw .status(413) }
    }

    private static func field(_ line: ArraySlice<UInt8>) throws(HTTPRequest.Fault) -> (name: String, value: String) {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { throw .status(400) }
        let name = line[..<colon]
        // A blank before the colon has misled servers before, so RFC 9112, section 5.1, requires status 400.
        guard isToken(name) else { throw .status(400) }
        let bytes = line[(colon + 1)...]
        guard bytes.allSatisfy({ $0 == 0x09 || $0 >= 0x20 && $0 != 0x7F }) else { throw .status(400) }
        let value = trimmed(String(decoding: bytes, as: UTF8.self)[...])
        return (String(decoding: name, as: UTF8.self).lowercased(), value)
    }
}

private func trimmed(_ text: Substring) -> String {
    func isBlank(_ character: Character) -> Bool { character == " " || character == "\t" }
    var rest = text.drop(while: isBlank)
    while let last = rest.last, isBlank(last) { rest.removeLast() }
    return String(rest)
}

/// Whether the bytes are a token (RFC 9110, section 5.6.2).
private func isToken(_ bytes: ArraySlice<UInt8>) -> Bool {
    !bytes.isEmpty
        && bytes.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
            default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
            }
        }
}
