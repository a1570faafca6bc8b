// Notes changes of keys, and tells watching connections of rotations and of the end of their watch, in the same turn as
// the answers to requests.
//
// Must never make the other clients wait for more than a few watchers, nor send to a client that has not read what it
// was told before.

internal import Broker
internal import Kernel
internal import Keys

extension EventLoop {
    /// Notes that something on the path to a key has changed, here or where the opener watches.
    func noteChanges() {
        broker.noteChanges()
        guard !opener.isRunning, hasOpener else { return }
        hasOpener = false
        logger.log("the process that opens keys outside of the sandbox has ended; restart keybrokerd", .failure)
        try? opener.unregister(from: poller)
    }

    /// Adds to the turn what the next watching connections have to be told.
    func tellWatchers(_ turn: inout Turn) {
        for watch in broker.dueWatches(now: turnBegan) {
            guard let connection = watch.number.flatMap({ connections[$0] }), connection.watch === watch else {
                continue
            }
            connection.noteIfRead()
            do throws(Failure) {
                switch try broker.renewal(of: watch, from: connection.socket, hasRead: !connection.owesReading) {
                case .nothing: break
                case .answer(let answer): turn.append((connection, answer))
                case .leave: connections.leave(connection)
                }
            } catch {
                peerTrouble.log("a caller's identity could not be read: \(error)")
                connections.leave(connection)
            }
        }
    }
}
