// Whether a private key and a certificate belong together.
//
// Must never take two files for a pair because one of them could not be read. Must never take what OpenSSL cannot read
// at all for a fault: whoever uses the files may read other forms.

internal import CCrypto

/// What a key and a certificate are to each other.
package enum Pair: Equatable, Sendable {
    case belongsTogether
    /// They do not belong together. The texts are the SHA-256 of their public keys, as in
    /// ``PrivateKey/publicFingerprint``.
    case differs(key: String, certificate: String)
    /// One of the files has a form that is not read here. The text says which file, and which form.
    case cannotTell(String)

    /// Compares the first private key and the first certificate of two files. A file that begins to be PEM and is
    /// damaged is a failure: somebody may be writing it.
    package init(key: Span<UInt8>, certificate: Span<UInt8>) throws(LibraryFailure) {
        if key.contains("-----BEGIN OPENSSH PRIVATE KEY-----") {
            self = .cannotTell("the key has OpenSSH's form")
            return
        }
        guard key.contains("PRIVATE KEY-----") else {
            self = .cannotTell("the key is not in PEM form")
            return
        }
        guard certificate.contains("-----BEGIN ") else {
            self = .cannotTell("the certificate is not in PEM form")
            return
        }
        self = try PEMReader.over("the private key", key) { (reader) throws(LibraryFailure) in
            // Safety: a fresh key, which is freed below.
            let (key, isEncrypted) = unsafe reader.nextPrivateKey()
            if isEncrypted {
                // Safety: as above. Freeing nothing does nothing.
                unsafe EVP_PKEY_free(key)
                return .cannotTell("the key is encrypted")
            }
            // Safety: as above.
            guard let key = unsafe key else {
                throw .now("the private key cannot be read; make sure that the file is whole")
            }
            // Safety: nothing refers to it after this.
            defer { unsafe EVP_PKEY_free(key) }
            // Safety: it is valid until then.
            return try unsafe Self.compare(key, certificate)
        }
    }

    /// Compares a public key, as SubjectPublicKeyInfo in DER, with the first certificate of a file.
    package init(publicKey: Span<UInt8>, certificate: Span<UInt8>) throws(LibraryFailure) {
        guard certificate.contains("-----BEGIN ") else {
            self = .cannotTell("the certificate is not in PEM form")
            return
        }
        // Safety: the call reads as many bytes as the span has, and makes a fresh key, which is freed below.
        let key = unsafe publicKey.withUnsafeBufferPointer { bytes in
            var next = bytes.baseAddress
            return unsafe d2i_PUBKEY(nil, &next, bytes.count)
        }
        // Safety: as above.
        guard let key = unsafe key else { throw .now("the public key of the channel cannot be read") }
        // Safety: nothing refers to it after this.
        defer { unsafe EVP_PKEY_free(key) }
        // Safety: it is valid until then.
        self = try unsafe Self.compare(key, certificate)
    }

    private static func compare(_ key: OpaquePointer, _ pem: Span<UInt8>) throws(LibraryFailure) -> Pair {
        try PEMReader.over("the certificate", pem) { (reader) throws(LibraryFailure) in
            switch try Certificate.next(in: reader) {
            case .some(let certificate):
                // Safety: the call only compares, and both are valid while it runs.
                if unsafe X509_check_private_key(certificate.pointer, key) == 1 { return .belongsTogether }
                ERR_clear_error()
                // Safety: the certificate owns its key, and is valid while it is read.
                let other = unsafe X509_get0_pubkey(certificate.pointer).flatMap {
                    unsafe fingerprint(ofPublicHalfOf: $0)
                }
                // Safety: the caller vouches for the key.
                let own = unsafe fingerprint(ofPublicHalfOf: key)
                return .differs(key: own ?? "unknown", certificate: other ?? "unknown")
            case .none: throw LibraryFailure("there is no certificate in the certificate's file")
            }
        }
    }
}
