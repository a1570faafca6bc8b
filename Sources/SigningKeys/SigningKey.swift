// A private key that signs.
//
// Must never give the bytes of the key out, decrypt, or sign a hash that somebody else made of a message.

internal import CCrypto
internal import PEM
package import Wire

/// Why a key cannot be used for signing. The text is for the admin, and contains nothing of the key.
package struct UnusableKey: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    package init(description: String) { self.description = description }
}

/// A private key, and a prepared operation for each way in which it signs. For one thread.
@safe package final class SigningKey {
    private let key: PrivateKey
    /// The public key: SubjectPublicKeyInfo in DER.
    package let publicKey: [UInt8]
    /// In the order in which a client should prefer them.
    package let schemes: [SignatureScheme]
    /// Whether a signature takes well under a millisecond. All others take up to some: RSA several when libcrypto renews
    /// the blinding, P-384, P-521 and Ed448 each time.
    package var isQuick: Bool { schemes.first == .ecdsaP256SHA256 || schemes.first == .ed25519 }
    private let operations: [SignatureOperation]
    private let longestSignature: Int

    /// Reads the first private key in PEM text, and tries whether it signs what its public half accepts.
    package init(pem: Span<UInt8>) throws(UnusableKey) {
        do throws(LibraryFailure) {
            key = try PrivateKey(pem: pem)
            // Safety: the key is valid as long as this object.
            schemes = try unsafe Self.schemes(of: key.pointer)
            // Safety: as above.
            guard let der = unsafe Self.publicHalf(of: key.pointer) else {
                throw .now("the public half of the key cannot be written down")
            }
            publicKey = der
            // Safety: as above.
            longestSignature = unsafe Int(EVP_PKEY_get_size(key.pointer))
            var operations: [SignatureOperation] = []
            for scheme in schemes {
                // Safety: as above.
                operations.append(try unsafe SignatureOperation(with: key.pointer, scheme))
            }
            self.operations = operations
        } catch { throw UnusableKey(description: error.description) }
        guard let scheme = schemes.first, let signature = sign([0x20], scheme),
            // Safety: as above.
            unsafe SignatureOperation.accepts(signature, of: [0x20], scheme, key.pointer)
        else {
            throw UnusableKey(
                description:
                    "the two halves of the private key do not belong together; make sure that the file is whole")
        }
    }

    /// The signature of a message, in the form that it has in TLS. Nil if this key does not sign in that way, or
    /// libcrypto has no memory.
    package func sign(_ message: ArraySlice<UInt8>, _ scheme: SignatureScheme) -> [UInt8]? {
        guard let place = schemes.firstIndex(of: scheme) else { return nil }
        return operations[place].sign(message, room: longestSignature)
    }

    /// The ways in which this kind of key signs.
    private static func schemes(of key: OpaquePointer) throws(LibraryFailure) -> [SignatureScheme] {
        // Safety: the caller vouches for the key. The names are static strings.
        func isKind(_ name: String) -> Bool { unsafe EVP_PKEY_is_a(key, name) == 1 }
        // Safety: as above.
        let bits = unsafe EVP_PKEY_get_bits(key)
        if isKind("RSA"), (2048...4096).contains(bits) {
            return [
                .rsaPSSSHA256, .rsaPSSSHA384, .rsaPSSSHA512, .rsaPKCS1SHA256, .rsaPKCS1SHA384, .rsaPKCS1SHA512,
            ]
        }
        if isKind("ED25519") { return [.ed25519] }
        if isKind("ED448") { return [.ed448] }
        if isKind("EC") {
            var name = [CChar](repeating: 0, count: 64)
            let room = name.count
            // Safety: the call writes at most as many bytes as the array holds, and a NUL after them.
            let isNamed = unsafe EVP_PKEY_get_group_name(key, &name, room, nil) == 1
            let text = name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            switch isNamed ? String(decoding: text, as: UTF8.self) : "" {
            case "prime256v1", "P-256": return [.ecdsaP256SHA256]
            case "secp384r1", "P-384": return [.ecdsaP384SHA384]
            case "secp521r1", "P-521": return [.ecdsaP521SHA512]
            default: break
            }
        }
        // Safety: as above.
        let kind = unsafe EVP_PKEY_get0_type_name(key).map { unsafe String(cString: $0) } ?? "unknown kind"
        throw LibraryFailure(
            "no signatures are made with a key of this kind (\(kind), \(bits) bits); there are RSA from 2048 to 4096 bits, "
                + "EC on P-256, P-384 and P-521, Ed25519 and Ed448")
    }

    private static func publicHalf(of key: OpaquePointer) -> [UInt8]? {
        var written: UnsafeMutablePointer<UInt8>?
        // Safety: the caller vouches for the key. The call allocates a buffer, and returns its length.
        let length = unsafe i2d_PUBKEY(key, &written)
        guard length > 0, let start = unsafe written else { return nil }
        // Safety: it is copied once and freed; CRYPTO_free takes where that was, for messages only.
        defer { unsafe CRYPTO_free(start, nil, 0) }
        return unsafe Array(UnsafeBufferPointer(start: start, count: Int(length)))
    }
}
