// Hears what the process that signs has said, and answers those who wait for a channel, in the same turn as the answers to
// requests.
//
// Must never wait for that process.

internal import Broker
internal import Kernel
internal import SignerControl

extension EventLoop {
    /// Adds to the turn the answers for whom the signer has opened a channel, or not.
    func hearSigner(_ turn: inout Turn) {
        for channel in broker.hearSigner(now: turnBegan) {
            guard let connection = channel.connection.flatMap({ connections[$0] }), connection.channel === channel
            else {
                broker.abandon(channel)
                continue
            }
            connections.goOn(connection)
            turn.append((connection, broker.answer(for: channel)))
        }
        guard let signer, hasSigner, !signer.isRunning else { return }
        hasSigner = false
        logger.log("the process that signs has ended, and no channel can be opened; restart keybrokerd", .failure)
        try? signer.unregister(from: poller)
    }
}
