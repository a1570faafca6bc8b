// Asks the broker for a signing channel: the key signs on it and stays with the broker.
//
// Must never take anything else for a channel: what is sent on it would reach somebody else.

internal import Kernel
internal import Wire

/// One end of a signing channel, with the certificate of its key if the policy names one. It has one owner, and closes both
/// at the end of its life.
///
/// The first packet that arrives is the signer's hello. The channel is close-on-exec, and calls on it do not block.
struct SigningChannel: ~Copyable, Sendable {
    /// The number of the decision: the `seq` of its record in the audit log.
    let decision: UInt64
    let socket: SeqpacketSocket
    let certificate: Descriptor?
}

extension KeyBroker {
    /// Asks for a signing channel.
    ///
    /// Calls `connect(2)`, `sendmsg(2)` and `recvmsg(2)` on a `SOCK_SEQPACKET` Unix socket. The grant is in the audit log.
    /// - Parameter name: the key's name in the policy.
    func channel(_ name: String, _ patience: Deadline) throws(KeyBrokerError) -> SigningChannel {
        var exchange = try exchange(.channel(try KeyName(checking: name)), patience)
        guard case .granted(let decision) = exchange.answer.reply else { throw exchange.answer.error(asking: name) }
        return SigningChannel(
            decision: decision, socket: try exchange.answer.takeChannel(),
            certificate: try exchange.answer.takeCertificate())
    }
}
