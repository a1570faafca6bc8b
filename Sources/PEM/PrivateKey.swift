// A private key in OpenSSL.
//
// Must never ask for a passphrase. Must never give the bytes of the key out again: only its public half is visible.

internal import CCrypto
internal import Digest

/// A private key, owned (`EVP_PKEY`).
@safe package struct PrivateKey: ~Copyable {
    // Safety: the key belongs to this value alone, from its making to its end.
    package let pointer: OpaquePointer

    /// SHA-256 of the public key (SubjectPublicKeyInfo, DER) in hexadecimal digits. For its certificate, `openssl x509
    /// -in CERTIFICATE -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum` prints the same.
    package let publicFingerprint: String

    /// Reads a key from PEM text. Other text around it is skipped.
    package init(pem: Span<UInt8>) throws(LibraryFailure) {
        self = try PEMReader.over("the private key", pem) { (reader) throws(LibraryFailure) in
            // Safety: a fresh key, which is the new value's from here on.
            let (key, isEncrypted) = unsafe reader.nextPrivateKey()
            // Safety: as above.
            if let key = unsafe key { return try unsafe PrivateKey(taking: key) }
            let errors = ErrorQueue.taken()
            if isEncrypted {
                throw LibraryFailure(
                    "the private key is encrypted with a passphrase, and there is nobody here to ask for it; "
                        + "store it without one (openssl pkey -in KEY -out NEWKEY), readable by root alone")
            }
            // OpenSSL 3 says "unsupported" about anything that is not a key.
            if !Self.hasPrivateKeyLine(pem) {
                throw LibraryFailure(
                    "there is no private key in PEM form in it (-----BEGIN PRIVATE KEY-----); "
                        + "see whether the policy names the right file")
            }
            throw errors.failure("the private key cannot be used; make sure that the file is whole")
        }
    }

    /// Whether the text has a line that begins a private key of any kind.
    private static func hasPrivateKeyLine(_ pem: Span<UInt8>) -> Bool { pem.contains("PRIVATE KEY-----") }

    private init(taking pointer: OpaquePointer) throws(LibraryFailure) {
        // Safety: the key is valid until it is freed here, where there will be no value that owns it.
        guard let fingerprint = unsafe fingerprint(ofPublicHalfOf: pointer) else {
            let failure = LibraryFailure.now("the key's public half cannot be written down")
            // Safety: as above.
            unsafe EVP_PKEY_free(pointer)
            throw failure
        }
        publicFingerprint = fingerprint
        // Safety: it is this value's from here on.
        unsafe self.pointer = pointer
    }

    // Safety: nothing refers to the key but this value and contexts that count their own reference.
    deinit { unsafe EVP_PKEY_free(pointer) }

    /// "RSA, 2048 bits"
    // Safety: the key is this value's.
    package var kind: String { unsafe kindOfKey(pointer) }
}

/// "RSA, 2048 bits"
func kindOfKey(_ key: OpaquePointer) -> String {
    // Safety: the caller vouches for the key. The name is a static string of the library, or nil.
    let name = unsafe EVP_PKEY_get0_type_name(key).map { unsafe String(cString: $0) } ?? "a key"
    // Safety: the call only reads the key.
    return "\(name), \(unsafe EVP_PKEY_get_bits(key)) bits"
}

/// The fingerprint of the public half of an `EVP_PKEY`, or nil if OpenSSL cannot write that half down.
func fingerprint(ofPublicHalfOf key: OpaquePointer) -> String? {
    ERR_clear_error()
    // Safety: the caller vouches for the key. Asked without a buffer, the call says how many bytes it would write.
    var der = [UInt8](repeating: 0, count: max(0, Int(unsafe i2d_PUBKEY(key, nil))))
    // Safety: it writes as many bytes as it said, and the array holds as many.
    let written = unsafe der.withUnsafeMutableBufferPointer { buffer in
        // If there is no buffer, the call would allocate one itself.
        guard buffer.count > 0 else { return 0 }
        var position = buffer.baseAddress
        return Int(unsafe i2d_PUBKEY(key, &position))
    }
    guard written > 0, written == der.count else { return nil }
    var hash = SHA256()
    hash.update(der)
    return String(decoding: hash.finish(), as: UTF8.self)
}

extension Span<UInt8> {
    /// Whether the text stands anywhere in the bytes. Swift's own search for it would link the library of regular
    /// expressions into the signer.
    func contains(_ text: String) -> Bool {
        let wanted = text.utf8Span.span
        guard wanted.count <= count else { return false }
        return (0...count - wanted.count).contains { start in
            wanted.indices.allSatisfy { self[start + $0] == wanted[$0] }
        }
    }
}
