// Asks the broker for a signing channel: the key signs on it and stays with the broker.
//
// Must never take anything else for a channel: what is sent on it would reach somebody else.

package import Kernel
internal import Wire

/// One end of a signing channel, with the certificate of its key if the policy names one. It has one owner, and closes both
/// at the end of its life.
///
/// The first packet that arrives is the signer's hello. The channel is close-on-exec, and calls on it do not block.
package struct SigningChannel: ~Copyable, Sendable {
    /// The name that was asked for.
    package let name: String
    /// The number of the decision: the `seq` of its record in the audit log.
    package let decision: UInt64
    package let socket: SeqpacketSocket
    let certificate: Descriptor?

    fileprivate init(
        name: String, decision: UInt64, socket: consuming SeqpacketSocket, certificate: consuming Descriptor?
    ) {
        self.name = name
        self.decision = decision
        self.socket = socket
        self.certificate = certificate
    }

    /// The current content of the certificate file, at most 1 MiB, or nil if there is no certificate.
    /// - Throws: ``KeyBrokerError/unusableFile(key:reason:)`` as ``KeyDescriptor/readCertificate()`` does.
    package borrowing func readCertificate() throws(KeyBrokerError) -> SecretBytes? {
        switch certificate {
        case .some(let file): try SecretBytes(contentsOf: file, of: name)
        case .none: nil
        }
    }

    /// Takes the signer's hello, which is the first packet: the numbers of its TLS SignatureSchemes, and the public key as
    /// SubjectPublicKeyInfo in DER. Calls `poll(2)` and `recvmsg(2)`.
    /// - Throws: ``KeyBrokerError/unavailable(key:decision:reason:)`` if the channel has ended, or nothing came until `end`.
    package borrowing func hello(
        until end: Instant
    ) throws(KeyBrokerError) -> (schemes: [UInt16], publicKey: [UInt8]) {
        var packet = [UInt8](repeating: 0, count: ChannelReply.longest)
        while try calling(try waitUntilReadable(socket.descriptor, until: end)) == .ready {
            switch try calling(try socket.receive(into: &packet)) {
            case .wouldBlock: continue
            case .nothing: throw withoutSigner
            case .packet(let length, let isCut, _):
                guard !isCut, case .hello(let schemes, let publicKey)? = try? ChannelReply(Array(packet[..<length]))
                else {
                    throw .protocolViolation("the first packet on the channel is no hello")
                }
                return (schemes, publicKey)
            }
        }
        throw withoutSigner
    }

    private var withoutSigner: KeyBrokerError {
        .unavailable(key: name, decision: decision, reason: Reason.signerUnavailable.rawValue)
    }
}

extension KeyBroker {
    /// Asks for a signing channel.
    ///
    /// Calls `connect(2)`, `sendmsg(2)` and `recvmsg(2)` on a `SOCK_SEQPACKET` Unix socket. The grant is in the audit log.
    /// - Parameters:
    ///   - name: the key's name in the policy.
    ///   - wait: how long to wait for a broker that is still starting or is busy. Zero means no wait.
    package func channel(
        _ name: String, waitingUpTo wait: Duration = .zero
    ) throws(KeyBrokerError) -> SigningChannel { try channel(name, Deadline(wait, calledOffBy: nil)) }

    func channel(_ name: String, _ patience: Deadline) throws(KeyBrokerError) -> SigningChannel {
        var exchange = try exchange(.channel(try KeyName(checking: name)), patience)
        guard case .granted(let decision) = exchange.answer.reply else { throw exchange.answer.error(asking: name) }
        return SigningChannel(
            name: name, decision: decision, socket: try exchange.answer.takeChannel(),
            certificate: try exchange.answer.takeCertificate())
    }
}
