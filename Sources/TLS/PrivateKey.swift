// A private key inside OpenSSL.
//
// Must never ask for a passphrase, nor give the key's bytes back out: only its public half has a face.

internal import COpenSSL
internal import Kernel

/// A private key, owned (`EVP_PKEY`).
@safe package struct PrivateKey: ~Copyable {
    // Safety: the key belongs to this value alone, from its making to its end.
    let pointer: OpaquePointer

    /// Reads a key from PEM text; what else stands in it is passed over.
    package init(pem: Span<UInt8>) throws(LibraryFailure) {
        // Safety: the BIO reads from the span and is freed before the span ends; the callback, which is
        // asked for a passphrase, gives none.
        let key = unsafe pem.withUnsafeBufferPointer { bytes -> OpaquePointer? in
            guard let bio = unsafe BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count)) else { return nil }
            defer { unsafe BIO_free(bio) }
            return unsafe PEM_read_bio_PrivateKey(bio, nil, { _, _, _, _ in -1 }, nil)
        }
        guard let key = unsafe key else {
            throw .now("the key is not a private key in PEM form without a passphrase")
        }
        unsafe pointer = key
    }

    // Safety: nothing refers to the key but this value and contexts that count their own reference.
    deinit { unsafe EVP_PKEY_free(pointer) }

    /// SHA-256 of the public key (SubjectPublicKeyInfo, DER) in hexadecimal digits, as
    /// `openssl x509 -pubkey -noout | openssl pkey -pubin -outform DER | sha256sum` computes it of the certificate.
    package var publicFingerprint: String {
        // Safety: asked without a buffer, the call says how many bytes it would write; then it writes them.
        let size = Int(unsafe i2d_PUBKEY(pointer, nil))
        var der = [UInt8](repeating: 0, count: max(size, 0))
        unsafe der.withUnsafeMutableBufferPointer { buffer in
            var position = buffer.baseAddress
            unsafe _ = i2d_PUBKEY(pointer, &position)
        }
        var hash = SHA256()
        hash.update(der)
        return String(decoding: hash.finish(), as: UTF8.self)
    }

    /// "RSA, 2048 bits"
    package var kind: String {
        // Safety: the name is a static string of the library, or nil.
        let name = unsafe EVP_PKEY_get0_type_name(pointer).map { unsafe String(cString: $0) } ?? "a key"
        // Safety: the call only reads the key.
        return "\(name), \(unsafe EVP_PKEY_get_bits(pointer)) bits"
    }
}
