// A certificate in OpenSSL.
//
// Must never take a broken certificate for the end of the file: the server would then send an incomplete chain.

internal import CCrypto

/// An X.509 certificate, owned (`X509`).
@safe package struct Certificate: ~Copyable {
    // Safety: the certificate belongs to this value alone, until its end or `release()`.
    package let pointer: OpaquePointer

    /// Returns the next certificate, or nil if the text holds no more.
    package static func next(in reader: borrowing PEMReader) throws(LibraryFailure) -> Certificate? {
        ERR_clear_error()
        // Safety: a fresh certificate, which is the new value's from here on.
        if let certificate = unsafe reader.nextCertificate() { return unsafe Certificate(pointer: certificate) }
        let errors = ErrorQueue.taken()
        guard errors.foundNoPEM else {
            throw errors.failure("a certificate in it is broken; make sure that the file is whole")
        }
        return nil
    }

    // Safety: the caller hands the pointer over to this value.
    private init(pointer: OpaquePointer) { unsafe self.pointer = pointer }

    // Safety: nothing refers to it but this value and contexts that count their own reference.
    deinit { unsafe X509_free(pointer) }

    /// Hands the certificate over. Its new owner must free it.
    package consuming func release() -> OpaquePointer {
        // Safety: this value ends here without freeing it.
        let pointer = unsafe pointer
        discard self
        return unsafe pointer
    }
}
