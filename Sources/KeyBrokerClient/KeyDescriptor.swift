// A key that was granted: the open descriptors, and the way to read them into memory that is wiped.
//
// Must never be copied, move the file's offset (which every copy of a descriptor shares), or leave the
// key's bytes anywhere else.

internal import Kernel
internal import Wire
internal import ClientKernel

/// An open private key, and perhaps its certificate, with one owner; the end of its life closes both.
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

    /// Whether the policy names a certificate for the key, so that the broker handed it over too.
    public var hasCertificate: Bool {
        switch certificate {
        case .some: true
        case .none: false
        }
    }

    /// The key's bytes, as they are in the file now. At most 1 MiB.
    ///
    /// Calls `fstat(2)`, `mmap(2)`, `mlock(2)` and `pread(2)`.
    /// - Throws: ``KeyBrokerError/unusableFile(key:reason:)`` where the file is larger, changes while it is
    ///   read or cannot be read.
    public borrowing func readKey() throws(KeyBrokerError) -> SecretBytes { try read(key) }

    /// The certificate's bytes, or nil where none came. As ``readKey()``.
    public borrowing func readCertificate() throws(KeyBrokerError) -> SecretBytes? {
        switch certificate {
        case .some(let file): try read(file)
        case .none: nil
        }
    }

    private borrowing func read(_ file: borrowing Descriptor) throws(KeyBrokerError) -> SecretBytes {
        try calling(SecretBytes(try WipedMemory.contents(of: file, limit: Limits.keyBytes))) {
            .unusableFile(key: name, reason: $0.description)
        }
    }

    /// Lets `body` use the key's descriptor number, as for a C library, for as long as it runs.
    public borrowing func withKeyDescriptor<R: ~Copyable, E: Error>(
        _ body: (Int32) throws(E) -> R
    ) throws(E) -> R {
        try key.withNumber(body)
    }

    /// Lets `body` use the certificate's descriptor number, nil where none came.
    public borrowing func withCertificateDescriptor<R: ~Copyable, E: Error>(
        _ body: (Int32?) throws(E) -> R
    ) throws(E) -> R {
        switch certificate {
        case .some(let file): try file.withNumber(body)
        case .none: try body(nil)
        }
    }

    /// Gives the descriptors away: they are the caller's to close.
    public consuming func release() -> (key: Int32, certificate: Int32?) {
        let number: Int32? =
            switch consume certificate {
            case .some(let file): file.release()
            case .none: nil
            }
        return (key.release(), number)
    }
}

/// Bytes of a key file, in memory of their own that is locked, kept out of core dumps and children, and
/// overwritten at the end of its life.
public struct SecretBytes: ~Copyable, Sendable {
    private let memory: WipedMemory

    init(_ memory: consuming WipedMemory) { self.memory = memory }

    /// How many bytes there are.
    public var count: Int { memory.count }

    /// Lets `body` see the bytes, for as long as it runs. What it copies out of them is its own to wipe.
    public borrowing func withBytes<R: ~Copyable, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
        try memory.withBytes(body)
    }
}
