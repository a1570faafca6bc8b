// PEM text as OpenSSL reads it: what is in memory already, without a copy of it.
//
// Must never outlive the bytes that it reads from, nor ask anybody for a passphrase.

internal import COpenSSL

/// A read-only memory BIO over bytes of somebody else's (`BIO`), owned.
@safe struct PEMReader: ~Copyable {
    // Safety: the BIO belongs to this value alone; `over` sees to it that the bytes live longer.
    private let pointer: OpaquePointer

    /// Lets `body` read from the bytes, which are those of `what`, for as long as it runs.
    static func over<R: ~Copyable>(
        _ what: String, _ bytes: Span<UInt8>, _ body: (borrowing PEMReader) throws(LibraryFailure) -> R
    ) throws(LibraryFailure) -> R {
        // Safety: the BIO is freed when `body` has returned, and the span ends after that.
        try unsafe bytes.withUnsafeBufferPointer { (bytes) throws(LibraryFailure) in
            ERR_clear_error()
            // OpenSSL takes no null pointer, which an empty span may have.
            guard bytes.count > 0 else { throw LibraryFailure("\(what) is empty; see whether the right file is named") }
            // Safety: the BIO only reads, and no further than it is told.
            guard let bio = unsafe BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count)) else {
                throw .now("OpenSSL has no memory for \(what)")
            }
            // Safety: the new value owns the BIO.
            return try body(unsafe PEMReader(pointer: bio))
        }
    }

    // Safety: handed over by the one who made it.
    private init(pointer: OpaquePointer) { unsafe self.pointer = pointer }

    // Safety: nothing refers to it any more.
    deinit { unsafe BIO_free(pointer) }

    /// The next private key, for its new owner to free; nil where there is none or it cannot be used.
    /// `isEncrypted`: a passphrase was wanted, and refused.
    borrowing func nextPrivateKey() -> (key: OpaquePointer?, isEncrypted: Bool) {
        var isEncrypted = false
        // Safety: OpenSSL calls back before it returns, while the flag is there, and gets no passphrase.
        let key = unsafe withUnsafeMutablePointer(to: &isEncrypted) { flag in
            unsafe PEM_read_bio_PrivateKey(pointer, nil, refusePassphrase, flag)
        }
        return unsafe (key, isEncrypted)
    }

    /// The next certificate, for its new owner to free; nil where there is none or it is broken.
    borrowing func nextCertificate() -> OpaquePointer? {
        // Safety: the call only reads; a fresh object comes back, or nil.
        unsafe PEM_read_bio_X509(pointer, nil, refusePassphrase, nil)
    }
}

/// OpenSSL's callback for passphrases: notes that there would have to be one, and gives none. Without it
/// OpenSSL would ask on the terminal.
private func refusePassphrase(
    _ buffer: UnsafeMutablePointer<CChar>?, _ size: Int32, _ isForWriting: Int32, _ flag: UnsafeMutableRawPointer?
) -> Int32 {
    // Safety: the flag is the Bool that nextPrivateKey passed, or null.
    unsafe flag?.storeBytes(of: true, as: Bool.self)
    return -1
}
