// A certificate inside OpenSSL.
//
// Must never take the rest of a broken file for the end of it: a chain that was cut would be served.

internal import COpenSSL

/// An X.509 certificate, owned (`X509`).
@safe struct Certificate: ~Copyable {
    // Safety: the certificate belongs to this value alone, until its end or `release()`.
    let pointer: OpaquePointer

    /// The next certificate; nil where the text holds no further.
    static func next(in reader: borrowing PEMReader) throws(LibraryFailure) -> Certificate? {
        ERR_clear_error()
        // Safety: a fresh certificate, which is the new value's from here on.
        if let certificate = unsafe reader.nextCertificate() { return unsafe Certificate(pointer: certificate) }
        let errors = ErrorQueue.taken()
        guard errors.foundNoPEM else {
            throw errors.failure("a certificate in it is broken; make sure that the file is whole")
        }
        return nil
    }

    // Safety: handed over by the one who made it.
    private init(pointer: OpaquePointer) { unsafe self.pointer = pointer }

    // Safety: nothing refers to it but this value and contexts that count their own reference.
    deinit { unsafe X509_free(pointer) }

    /// Gives the certificate away: who takes it frees it.
    consuming func release() -> OpaquePointer {
        // Safety: this value ends here without freeing it.
        let pointer = unsafe pointer
        discard self
        return unsafe pointer
    }
}
