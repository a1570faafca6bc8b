// What people want to know of a public key.
//
// Must never be made of anything but the whole SubjectPublicKeyInfo: a part of it has another fingerprint.

internal import CCrypto

/// A public key, as people see it.
package struct PublicKey: Equatable, Sendable {
    /// "RSA, 2048 bits"
    package let kind: String
    /// As ``PrivateKey/publicFingerprint``.
    package let fingerprint: String

    /// Reads SubjectPublicKeyInfo in DER (RFC 5280).
    package init(der: [UInt8]) throws(LibraryFailure) {
        ERR_clear_error()
        // Safety: the call reads as many bytes as the array holds, and moves a pointer of its own.
        let key = unsafe der.withUnsafeBufferPointer { bytes in
            var position = bytes.baseAddress
            return unsafe d2i_PUBKEY(nil, &position, bytes.count)
        }
        // Safety: a fresh key, or nil.
        guard let key = unsafe key else { throw .now("the public key cannot be read") }
        // Safety: nothing refers to it after this.
        defer { unsafe EVP_PKEY_free(key) }
        // Safety: it is valid until then.
        kind = unsafe kindOfKey(key)
        // Safety: as above.
        guard let fingerprint = unsafe PEM.fingerprint(ofPublicHalfOf: key) else {
            throw .now("the public key cannot be written down")
        }
        self.fingerprint = fingerprint
    }
}
