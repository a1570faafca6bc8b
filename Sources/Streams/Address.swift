// An address on which a server listens, in the form that people write.
//
// Must never look up a name: an address is a number or a path.

/// `127.0.0.1:8443`, `[::1]:8443` or `unix:/run/tls.sock`.
package enum Address: Equatable, Sendable, CustomStringConvertible {
    case ip4(String, port: UInt16)
    case ip6(String, port: UInt16)
    case unix(String)

    /// Says why a text is not an address.
    package struct Malformed: Error, CustomStringConvertible {
        package let description: String
    }

    package init(_ text: String) throws(Malformed) {
        if text.hasPrefix("unix:") {
            let path = String(text.dropFirst(5))
            guard path.hasPrefix("/"), path.utf8.count < 108 else {
                throw Malformed(description: "'\(text)': after unix: comes an absolute path of at most 107 bytes")
            }
            self = .unix(path)
            return
        }
        let wanted = "write 127.0.0.1:8443, [::1]:8443 or unix:/PATH"
        guard let colon = text.lastIndex(of: ":") else {
            throw Malformed(description: "'\(text)' has no port; \(wanted)")
        }
        let digits = text[text.index(after: colon)...]
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(digits) else {
            throw Malformed(description: "'\(digits)' is not a port from 0 to 65535; \(wanted)")
        }
        let host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") {
            self = .ip6(String(host.dropFirst().dropLast()), port: port)
        } else {
            self = .ip4(host, port: port)
        }
        guard isNumeric else {
            throw Malformed(description: "'\(host)' is not an IP address, and names are not looked up; \(wanted)")
        }
    }

    package var description: String {
        switch self {
        case .ip4(let host, let port): "\(host):\(port)"
        case .ip6(let host, let port): "[\(host)]:\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }

    /// The URL for a browser, or the path of a Unix socket.
    package var url: String {
        switch self {
        case .unix: description
        default: "https://\(description)/"
        }
    }
}
