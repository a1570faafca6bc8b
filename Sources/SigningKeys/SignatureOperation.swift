// One way of signing with one key, prepared once: what libcrypto looks up by name for it costs a tenth of a signature.
//
// Must never outlive its key. Must never sign two messages as one.

internal import CCrypto
internal import PEM
internal import Wire

/// A prepared signature (`EVP_MD_CTX`), which is copied for each message.
@safe final class SignatureOperation {
    // Safety: both belong to this object alone, from its making to its end.
    private let prepared: OpaquePointer
    private let scratch: OpaquePointer

    /// The context counts its own reference to the key.
    init(with key: OpaquePointer, _ scheme: SignatureScheme) throws(LibraryFailure) {
        // Safety: both are freed in `deinit`, or here, where there will be no object. To free nothing is permitted.
        let (prepared, scratch) = unsafe (EVP_MD_CTX_new(), EVP_MD_CTX_new())
        guard let prepared = unsafe prepared, let scratch = unsafe scratch,
            unsafe Self.begin(prepared, key, scheme, signs: true)
        else {
            let failure = LibraryFailure.now("OpenSSL does not sign with this key")
            unsafe EVP_MD_CTX_free(scratch)
            unsafe EVP_MD_CTX_free(prepared)
            throw failure
        }
        unsafe (self.prepared, self.scratch) = (prepared, scratch)
    }

    // Safety: nothing refers to them any more.
    deinit {
        unsafe EVP_MD_CTX_free(scratch)
        unsafe EVP_MD_CTX_free(prepared)
    }

    /// Nil if libcrypto fails.
    func sign(_ message: ArraySlice<UInt8>, room: Int) -> [UInt8]? {
        // Safety: both contexts are this object's. The flag says that the copy is used for one signature.
        guard unsafe EVP_MD_CTX_copy_ex(scratch, prepared) == 1 else {
            ERR_clear_error()
            return nil
        }
        unsafe EVP_MD_CTX_set_flags(scratch, EVP_MD_CTX_FLAG_FINALISE)
        var length = 0
        // Safety: the call reads as many bytes as the slice holds, and writes at most as many as there is room for.
        let signature = unsafe [UInt8](unsafeUninitializedCapacity: room) { signature, count in
            length = room
            let result = unsafe message.withUnsafeBufferPointer { message in
                unsafe EVP_DigestSign(scratch, signature.baseAddress, &length, message.baseAddress, message.count)
            }
            count = result == 1 ? min(length, room) : 0
        }
        guard !signature.isEmpty else {
            ERR_clear_error()
            return nil
        }
        return signature
    }

    /// Whether the public half of the key accepts the signature.
    static func accepts(
        _ signature: [UInt8], of message: ArraySlice<UInt8>, _ scheme: SignatureScheme, _ key: OpaquePointer
    ) -> Bool {
        // Safety: the context is freed when the function returns, and the caller vouches for the key.
        guard let context = unsafe EVP_MD_CTX_new() else { return false }
        // Safety: as above.
        defer { unsafe EVP_MD_CTX_free(context) }
        defer { ERR_clear_error() }
        // Safety: as above.
        guard unsafe begin(context, key, scheme, signs: false) else { return false }
        // Safety: the call only reads, and no more bytes than there are.
        return unsafe message.withUnsafeBufferPointer { message in
            unsafe EVP_DigestVerify(context, signature, signature.count, message.baseAddress, message.count) == 1
        }
    }

    private static func begin(
        _ context: OpaquePointer, _ key: OpaquePointer, _ scheme: SignatureScheme, signs: Bool
    ) -> Bool {
        var parameters: OpaquePointer?
        // Safety: the digests are static objects of the library. What is set belongs to the context.
        let digest = unsafe scheme.digest
        let result =
            unsafe signs
            ? EVP_DigestSignInit(context, &parameters, digest, nil, key)
            : EVP_DigestVerifyInit(context, &parameters, digest, nil, key)
        guard result == 1 else { return false }
        guard scheme.isPSS else { return true }
        // Safety: as above. The salt is as long as the digest (RFC 8446, 4.2.3).
        return unsafe EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1
            && EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) == 1
    }
}

extension SignatureScheme {
    /// Nil if the scheme hashes in a way of its own.
    fileprivate var digest: OpaquePointer? {
        // Safety: static objects of the library.
        switch self {
        case .rsaPKCS1SHA256, .rsaPSSSHA256, .ecdsaP256SHA256: unsafe EVP_sha256()
        case .rsaPKCS1SHA384, .rsaPSSSHA384, .ecdsaP384SHA384: unsafe EVP_sha384()
        case .rsaPKCS1SHA512, .rsaPSSSHA512, .ecdsaP521SHA512: unsafe EVP_sha512()
        case .ed25519, .ed448: nil
        }
    }

    fileprivate var isPSS: Bool {
        switch self {
        case .rsaPSSSHA256, .rsaPSSSHA384, .rsaPSSSHA512: true
        default: false
        }
    }
}
