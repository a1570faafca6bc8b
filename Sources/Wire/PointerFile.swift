// Pointer files: PEM without a secret, for programs that want the path of a private key. The OpenSSL provider reads them.
//
// Must never contain anything but the name of a key.

/// A pointer to a key of the broker.
package struct PointerFile: Sendable {
    private let key: KeyName

    package init(to key: KeyName) { self.key = key }

    /// SEQUENCE { UTF8String "keybroker:NAME" } in DER. A name is so short that each length is one byte.
    package var der: [UInt8] {
        let uri = Array("keybroker:\(key)".utf8)
        return [0x30, UInt8(uri.count + 2), 0x0C, UInt8(uri.count)] + uri
    }

    /// The whole file.
    package var text: String { lines.map { "\($0)\n" }.joined() }

    /// The lines of the file, without the line feeds. Base64 has at most 64 characters in a line (RFC 7468).
    package var lines: [String] {
        var lines = ["-----BEGIN KEYBROKER URI-----"]
        var rest = Self.base64(der)[...]
        while !rest.isEmpty {
            lines.append(String(decoding: rest.prefix(64), as: UTF8.self))
            rest = rest.dropFirst(64)
        }
        return lines + ["-----END KEYBROKER URI-----"]
    }

    private static let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    private static func base64(_ bytes: [UInt8]) -> [UInt8] {
        var text: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let bits = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
            for place in 0..<4 {
                let digit = digits[bits >> (18 - 6 * place) & 63]
                text.append(place <= group.count ? digit : UInt8(ascii: "="))
            }
        }
        return text
    }
}
