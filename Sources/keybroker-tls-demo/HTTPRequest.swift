// The head of an HTTP/1.1 request (RFC 9112), as much of it as this server needs.
//
// Must never take the body of one request for the beginning of the next, nor read without a bound.

/// A request whose head has come whole.
struct HTTPRequest: Equatable {
    let method: String
    let target: String
    /// The connection may stay open after the response.
    let keepsAlive: Bool

    /// What there is of a request.
    enum Parsed: Equatable {
        /// The request, and how many bytes its head took.
        case complete(HTTPRequest, length: Int)
        case incomplete
        /// The status to answer, after which the connection ends.
        case faulty(Int)
    }

    /// The longest head, in bytes.
    static let longestHead = 8 * 1024

    static func parse(_ input: ArraySlice<UInt8>) -> Parsed {
        // Blank lines before a request are passed over (RFC 9112, section 2.2).
        let start = input.firstIndex { $0 != 0x0D && $0 != 0x0A } ?? input.endIndex
        let rest = input[start...]
        guard let end = endOfHead(rest) else {
            return input.count > longestHead ? .faulty(rest.contains(0x0A) ? 431 : 414) : .incomplete
        }
        let lines = rest[..<end].split(separator: 0x0A, omittingEmptySubsequences: false)
            .map { $0.last == 0x0D ? $0.dropLast() : $0 }
        guard end - input.startIndex <= longestHead else { return .faulty(431) }
        guard let first = lines.first, let (method, target, minor) = requestLine(first) else { return .faulty(400) }
        guard let minor else { return .faulty(505) }
        var keepsAlive = minor >= 1
        var hosts = 0
        for line in lines.dropFirst() where !line.isEmpty {
            guard let (name, value) = field(line) else { return .faulty(400) }
            switch name {
            case "host": hosts += 1
            case "connection":
                let options = value.split(separator: ",").map { trimmed(String($0)).lowercased() }
                if options.contains("close") { keepsAlive = false }
            // No resource takes a body, and skipping one right takes more than this server should do.
            case "transfer-encoding": return .faulty(501)
            case "content-length" where value != "0": return .faulty(413)
            default: break
            }
        }
        guard hosts == 1 || (minor == 0 && hosts == 0) else { return .faulty(400) }
        let request = HTTPRequest(method: method, target: target, keepsAlive: keepsAlive)
        return .complete(request, length: end - input.startIndex)
    }

    /// Behind the empty line that ends the head.
    private static func endOfHead(_ bytes: ArraySlice<UInt8>) -> Int? {
        var position = bytes.startIndex
        while let feed = bytes[position...].firstIndex(of: 0x0A) {
            var next = feed + 1
            if next < bytes.endIndex, bytes[next] == 0x0D { next += 1 }
            if next < bytes.endIndex, bytes[next] == 0x0A { return next + 1 }
            position = feed + 1
        }
        return nil
    }

    /// Method, target and the minor version, nil where it is not HTTP/1.
    private static func requestLine(_ line: ArraySlice<UInt8>) -> (String, String, Int?)? {
        let words = line.split(separator: 0x20, omittingEmptySubsequences: false)
        guard words.count == 3, !words[0].isEmpty, words[0].allSatisfy(isTokenByte) else { return nil }
        guard !words[1].isEmpty, words[1].allSatisfy({ (0x21...0x7E).contains($0) }) else { return nil }
        let version = String(decoding: words[2], as: UTF8.self)
        guard version.hasPrefix("HTTP/") else { return nil }
        let minor: Int? =
            switch version {
            case "HTTP/1.0": 0
            case "HTTP/1.1": 1
            default: nil
            }
        return (String(decoding: words[0], as: UTF8.self), String(decoding: words[1], as: UTF8.self), minor)
    }

    private static func field(_ line: ArraySlice<UInt8>) -> (name: String, value: String)? {
        guard let colon = line.firstIndex(of: 0x3A) else { return nil }
        let name = line[..<colon]
        // A blank before the colon has misled servers before: RFC 9112, section 5.1, wants 400.
        guard !name.isEmpty, name.allSatisfy(isTokenByte) else { return nil }
        let value = line[(colon + 1)...]
        guard value.allSatisfy({ $0 == 0x09 || $0 >= 0x20 && $0 != 0x7F }) else { return nil }
        return (String(decoding: name, as: UTF8.self).lowercased(), trimmed(String(decoding: value, as: UTF8.self)))
    }

    private static func trimmed(_ text: String) -> String {
        let isBlank = { (character: Character) in character == " " || character == "\t" }
        let start = text.drop(while: isBlank)
        return String(start.reversed().drop(while: isBlank).reversed())
    }

    /// RFC 9110, section 5.6.2.
    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: Array("!#$%&'*+-.^_`|~".utf8).contains(byte)
        }
    }
}
