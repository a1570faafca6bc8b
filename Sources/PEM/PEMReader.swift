// PEM text that OpenSSL reads in place, without a copy.
//
// Must never outlive the bytes that it reads, nor ask anybody for a passphrase.

internal import CCrypto

/// A read-only memory BIO over bytes of another owner (`BIO`). The BIO itself is owned.
@safe package struct PEMReader: ~Copyable {
    // Safety: the BIO belongs to this value alone; `over` sees to it that the bytes live longer.
    private let pointer: OpaquePointer

    /// Lets `body` read the bytes while it runs. `what` names them in messages.
    package static func over<R: ~Copyable>(
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

    // Safety: the caller hands the pointer over to this value.
    private init(pointer: OpaquePointer) { unsafe self.pointer = pointer }

    // Safety: nothing refers to it any more.
    deinit { unsafe BIO_free(pointer) }

    /// Returns the next private key, which its new owner must free, or nil if there is none or it cannot be used.
    /// `isEncrypted` is true if OpenSSL asked for a passphrase, which is always refused.
    package borrowing func nextPrivateKey() -> (key: OpaquePointer?, isEncrypted: Bool) {
        var isEncrypted = false
        // Safety: OpenSSL calls back before it returns, while the flag is there, and gets no passphrase.
        let key = unsafe withUnsafeMutablePointer(to: &isEncrypted) { flag in
            unsafe PEM_read_bio_PrivateKey(pointer, nil, refusePassphrase, flag)
        }
        return unsafe (key, isEncrypted)
    }

    /// Returns the next certificate, which its new owner must free, or nil if there is none or it is broken.
    package borrowing func nextCertificate() -> OpaquePointer? {
        // Safety: the call only reads; a fresh object comes back, or nil.
        unsafe PEM_read_bio_X509(pointer, nil, refusePassphrase, nil)
    }
}

/// OpenSSL's callback for passphrases: it notes that one is needed, and gives none. Without this callback OpenSSL would
/// ask on the terminal.
private func refusePassphrase(
    _ buffer: UnsafeMutablePointer<CChar>?, _ size: Int32, _ isForWriting: Int32, _ flag: UnsafeMutableRawPointer?
) -> Int32 {
    // Safety: the flag is the Bool that nextPrivateKey passed, or null.
    unsafe flag?.storeBytes(of: true, as: Bool.self)
    return -1
}
