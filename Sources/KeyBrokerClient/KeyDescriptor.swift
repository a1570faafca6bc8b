// A key that was granted: the open descriptors, and functions that read them into memory that is wiped.
//
// Must never be copied. Must never move the file offset, which all copies of a descriptor share. Must never leave the
// key's bytes anywhere else.

internal import Kernel
internal import Wire
internal import ClientKernel

/// An open private key, with its certificate if it has one. It has one owner, and closes both files at the end of its
/// life.
///
/// The descriptors are of regular files, `O_RDONLY` and close-on-exec. Read them with ``readKey()`` and
/// ``readCertificate()``, or hand them on with ``withKeyDescriptor(_:)`` or ``release()``.
public struct KeyDescriptor: ~Copyable, Sendable {
    /// The name that was asked for.
    public let name: String
    /// The number of the decision: the `seq` of its record in the audit log.
    public let decision: UInt64

    private let key: Descriptor
    private let certificate: Descriptor?

    init(name: String, decision: UInt64, key: consuming Descriptor, certificate: consuming Descriptor?) {
        self.name = name
        self.decision = decision
        self.key = key
        self.certificate = certificate
    }

    /// Whether there is a certificate. The broker hands one over if the policy names one for the key.
    public var hasCertificate: Bool {
        switch certificate {
        case .some: true
        case .none: false
        }
    }

    /// The current content of the key file, at most 1 MiB.
    ///
    /// Calls `fstat(2)` before and after, `mmap(2)`, `mlock(2)` and `pread(2)`. A key that is replaced by another file, as
    /// `mv` does it, is always read whole. One that is written to in its place may be empty for a moment.
    /// - Throws: ``KeyBrokerError/unusableFile(key:reason:)`` if the file is larger, changes while it is read, or
    ///   cannot be read.
    public borrowing func readKey() throws(KeyBrokerError) -> SecretBytes {
        try SecretBytes(contentsOf: key, of: name)
    }

    /// The current content of the certificate file, or nil if there is no certificate. See ``readKey()``.
    public borrowing func readCertificate() throws(KeyBrokerError) -> SecretBytes? {
        try certificate.contents(of: name)
    }

    /// What tells the content of the two files from a later one.
    borrowing func marks() throws(KeyBrokerError) -> [ContentMark] {
        var marks = [ContentMark(try calling(try key.status()))]
        switch certificate {
        case .some(let file): marks.append(ContentMark(try calling(try file.status())))
        case .none: break
        }
        return marks
    }

    /// Passes the key's descriptor number to `body`, for example for a C library. It is valid only while `body` runs.
    public borrowing func withKeyDescriptor<R: ~Copyable, E: Error>(
        _ body: (Int32) throws(E) -> R
    ) throws(E) -> R {
        try key.withNumber(body)
    }

    /// Passes the certificate's descriptor number to `body`, or nil if there is no certificate.
    public borrowing func withCertificateDescriptor<R: ~Copyable, E: Error>(
        _ body: (Int32?) throws(E) -> R
    ) throws(E) -> R {
        try certificate.withNumber(body)
    }

    /// Gives the descriptors away. The caller has to close them.
    public consuming func release() -> (key: Int32, certificate: Int32?) {
        let number: Int32? =
            switch consume certificate {
            case .some(let file): file.release()
            case .none: nil
            }
        return (key.release(), number)
    }
}

/// The file of a certificate, if the policy names one.
extension Optional where Wrapped == Descriptor {
    /// Nil if there is none.
    /// - Parameter name: of the key, for the error.
    borrowing func contents(of name: String) throws(KeyBrokerError) -> SecretBytes? {
        switch self {
        case .some(let file): try SecretBytes(contentsOf: file, of: name)
        case .none: nil
        }
    }

    borrowing func withNumber<R: ~Copyable, E: Error>(_ body: (Int32?) throws(E) -> R) throws(E) -> R {
        switch self {
        case .some(let file): try file.withNumber(body)
        case .none: try body(nil)
        }
    }
}

/// The bytes of a key file, in memory that is locked, kept out of core dumps and child processes, and overwritten at
/// the end of its life.
public struct SecretBytes: ~Copyable, Sendable {
    private let memory: WipedMemory

    init(_ memory: consuming WipedMemory) { self.memory = memory }

    /// The current content of a file that was handed over.
    /// - Parameter name: of the key, for the error.
    init(contentsOf file: borrowing Descriptor, of name: String) throws(KeyBrokerError) {
        memory = try calling(try WipedMemory.contents(of: file, limit: Limits.keyBytes)) {
            // The rest of its text would name a call that did not fail.
            .unusableFile(key: name, reason: $0 == WipedMemory.changed ? $0.reason : $0.description)
        }
    }

    /// The number of bytes.
    public var count: Int { memory.count }

    /// A copy of the bytes, for a library that takes an array. Nobody wipes it. If the library takes a pointer, no copy is
    /// needed: see ``withBytes(_:)``.
    public borrowing func copiedBytes() -> [UInt8] {
        memory.withBytes { bytes in
            var copy: [UInt8] = []
            copy.reserveCapacity(bytes.count)
            for index in bytes.indices { copy.append(bytes[index]) }
            return copy
        }
    }

    /// Passes the bytes to `body`. They are valid only while `body` runs. If `body` copies them, it has to wipe the
    /// copy.
    ///
    /// A function of C takes them from the span:
    /// ```swift
    /// pem.withBytes { bytes in
    ///     bytes.withUnsafeBytes { BIO_new_mem_buf($0.baseAddress, Int32($0.count)) }
    /// }
    /// ```
    public borrowing func withBytes<R: ~Copyable, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
        try memory.withBytes(body)
    }
}
