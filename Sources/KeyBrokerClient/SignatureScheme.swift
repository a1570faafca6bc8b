// The ways to sign, by their numbers and names in TLS.
//
// Must never list a scheme that the signer does not have: a test compares it with the signer's list.

/// How a message is signed: a SignatureScheme of TLS 1.3 (RFC 8446, 4.2.3). `rawValue` is its number there.
///
/// The signer hashes the message by itself. A signature has the form that it has in TLS: for ECDSA the DER of
/// `ECDSA-Sig-Value` (RFC 3279, 2.2.3), for RSA and the Edwards curves the plain bytes (RFC 8017, RFC 8032).
public enum SignatureScheme: UInt16, CaseIterable, Hashable, Sendable {
    /// `rsa_pkcs1_sha256`. TLS 1.3 signs no handshakes with it.
    case rsaPKCS1SHA256 = 0x0401
    /// `rsa_pkcs1_sha384`. TLS 1.3 signs no handshakes with it.
    case rsaPKCS1SHA384 = 0x0501
    /// `rsa_pkcs1_sha512`. TLS 1.3 signs no handshakes with it.
    case rsaPKCS1SHA512 = 0x0601
    /// `ecdsa_secp256r1_sha256`
    case ecdsaP256SHA256 = 0x0403
    /// `ecdsa_secp384r1_sha384`
    case ecdsaP384SHA384 = 0x0503
    /// `ecdsa_secp521r1_sha512`
    case ecdsaP521SHA512 = 0x0603
    /// `rsa_pss_rsae_sha256`: the salt is as long as the hash.
    case rsaPSSSHA256 = 0x0804
    /// `rsa_pss_rsae_sha384`: the salt is as long as the hash.
    case rsaPSSSHA384 = 0x0805
    /// `rsa_pss_rsae_sha512`: the salt is as long as the hash.
    case rsaPSSSHA512 = 0x0806
    /// `ed25519`
    case ed25519 = 0x0807
    /// `ed448`
    case ed448 = 0x0808
}

extension SignatureScheme: CustomStringConvertible {
    /// The name in TLS: "ecdsa_secp256r1_sha256".
    public var description: String {
        switch self {
        case .rsaPKCS1SHA256: "rsa_pkcs1_sha256"
        case .rsaPKCS1SHA384: "rsa_pkcs1_sha384"
        case .rsaPKCS1SHA512: "rsa_pkcs1_sha512"
        case .ecdsaP256SHA256: "ecdsa_secp256r1_sha256"
        case .ecdsaP384SHA384: "ecdsa_secp384r1_sha384"
        case .ecdsaP521SHA512: "ecdsa_secp521r1_sha512"
        case .rsaPSSSHA256: "rsa_pss_rsae_sha256"
        case .rsaPSSSHA384: "rsa_pss_rsae_sha384"
        case .rsaPSSSHA512: "rsa_pss_rsae_sha512"
        case .ed25519: "ed25519"
        case .ed448: "ed448"
        }
    }
}
