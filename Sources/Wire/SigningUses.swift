// What a channel may sign, and whether a message is of that kind.
//
// Must never take a message for a handshake that differs from one in a single byte or in its length.

/// For what a private key may be used through a channel. Several uses permit what each of them permits.
package struct SigningUses: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Handshakes of TLS 1.3 servers.
    package static let tlsServer = SigningUses(rawValue: 1)
    /// Handshakes of TLS 1.3 clients.
    package static let tlsClient = SigningUses(rawValue: 2)
    /// Any message.
    package static let anything = SigningUses(rawValue: 4)

    /// The uses that a policy can name, with their words.
    package static let named: [(word: String, use: SigningUses)] = [
        ("tls-server", .tlsServer), ("tls-client", .tlsClient),
    ]

    /// The words of the uses, as a policy has them after `for`. Empty for ``anything``, which needs no word.
    package var words: [String] {
        contains(.anything) ? [] : Self.named.filter { contains($0.use) }.map(\.word)
    }

    /// Whether this message may be signed.
    package func permits(_ message: ArraySlice<UInt8>) -> Bool {
        contains(.anything)
            || contains(.tlsServer) && CertificateVerify.server.isSigned(by: message)
            || contains(.tlsClient) && CertificateVerify.client.isSigned(by: message)
    }

    /// Whether messages may be signed in this way at all.
    package func permit(_ scheme: SignatureScheme) -> Bool { contains(.anything) || scheme.isForHandshakes }
}

/// What TLS 1.3 signs in a handshake (RFC 8446, 4.4.3): 64 spaces, a text, a zero byte, and a hash of the messages so far.
private struct CertificateVerify {
    private let beginning: [UInt8]

    static let server = CertificateVerify("TLS 1.3, server CertificateVerify")
    static let client = CertificateVerify("TLS 1.3, client CertificateVerify")

    private init(_ context: String) {
        beginning = [UInt8](repeating: 0x20, count: 64) + context.utf8 + [0]
    }

    /// The hash is SHA-256's, SHA-384's, or as long as SHA-512's.
    func isSigned(by message: ArraySlice<UInt8>) -> Bool {
        [32, 48, 64].contains(message.count - beginning.count) && message.starts(with: beginning)
    }
}
