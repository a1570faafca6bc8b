// What a grant hands over: files that are open here, or in the process that opens keys.
//
// Must never hold a descriptor of a file system that another program or computer serves: even closing one can hang.

package import Kernel

/// The open files of a key, and what was checked of them.
package struct HandOut: ~Copyable {
    package let key: FileFacts
    package let certificate: FileFacts?
    private var keyDescriptor: Descriptor?
    private var certificateDescriptor: Descriptor?
    /// The files, if they are open in the process that opens keys.
    package let held: HeldFiles?
    /// Whether the descriptors are of copies in memory, which nobody can change.
    package let isCopied: Bool

    package init(key: consuming TrustedFile, certificate: consuming TrustedFile?) {
        self.key = key.facts
        keyDescriptor = Optional(key.intoDescriptor())
        switch consume certificate {
        case .some(let file):
            self.certificate = file.facts
            certificateDescriptor = Optional(file.intoDescriptor())
        case .none:
            self.certificate = nil
            certificateDescriptor = nil
        }
        (held, isCopied) = (nil, false)
    }

    init(
        copyOf key: FileFacts, _ keyDescriptor: consuming Descriptor, certificate: FileFacts?,
        _ certificateDescriptor: consuming Descriptor?
    ) {
        (self.key, self.certificate) = (key, certificate)
        self.keyDescriptor = Optional(keyDescriptor)
        self.certificateDescriptor = certificateDescriptor
        (held, isCopied) = (nil, true)
    }

    init(held: HeldFiles, key: FileFacts, certificate: FileFacts?) {
        (self.key, self.certificate) = (key, certificate)
        keyDescriptor = nil
        certificateDescriptor = nil
        (self.held, isCopied) = (held, false)
    }

    /// Takes the key's descriptor out. The caller then owns it. Nil if the files are held elsewhere.
    package mutating func takeKey() -> Descriptor? { keyDescriptor.take() }

    /// Takes the certificate's descriptor out. The caller then owns it.
    package mutating func takeCertificate() -> Descriptor? { certificateDescriptor.take() }
}

/// Files that the process that opens keys holds open for a client. It closes them when this object goes.
package final class HeldFiles {
    private let number: UInt64
    private let opener: OpenerProcess
    private var isSent = false

    init(_ number: UInt64, in opener: OpenerProcess) { (self.number, self.opener) = (number, opener) }

    deinit { if !isSent { opener.drop(number) } }

    /// Has that process send a packet with the files on a client's connection, and waits until it has. Can be called once.
    package func send(_ packet: [UInt8], on socket: borrowing SeqpacketSocket) throws(Failure) {
        try opener.send(number, packet, on: socket)
        isSent = true
    }
}
