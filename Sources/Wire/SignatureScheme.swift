// The signatures that a channel can make, by their numbers in TLS (RFC 8446, 4.2.3).
//
// Must never list a scheme with SHA-1, or one whose key can also be used to decrypt by the same request.

/// How a message is signed.
package enum SignatureScheme: UInt16, CaseIterable, Sendable {
    case rsaPKCS1SHA256 = 0x0401
    case rsaPKCS1SHA384 = 0x0501
    case rsaPKCS1SHA512 = 0x0601
    case ecdsaP256SHA256 = 0x0403
    case ecdsaP384SHA384 = 0x0503
    case ecdsaP521SHA512 = 0x0603
    case rsaPSSSHA256 = 0x0804
    case rsaPSSSHA384 = 0x0805
    case rsaPSSSHA512 = 0x0806
    case ed25519 = 0x0807
    case ed448 = 0x0808

    /// Whether TLS 1.3 signs handshakes with it (RFC 8446, 4.4.3).
    package var isForHandshakes: Bool {
        switch self {
        case .rsaPKCS1SHA256, .rsaPKCS1SHA384, .rsaPKCS1SHA512: false
        default: true
        }
    }
}
