// The key's watch, as a part of the event loop.
//
// Must never wait for the broker: the loop serves clients meanwhile.

internal import Kernel
internal import KeyBrokerClient

final class WatchedKey {
    private var watch: KeyWatch
    /// The number of the connection that the poller knows.
    private var registered = 0
    private var hasEnded = false
    /// Whether somebody waits to hear why the broker does not answer.
    private var saysTrouble = false

    init(_ watch: consuming KeyWatch) { self.watch = watch }

    /// What a look has found.
    enum News {
        case none
        case rotated(KeyRotation)
        /// The broker will hand out no more of it.
        case ended(KeyBrokerError)
        /// The broker cannot be reached, or cannot hand it out now. That is said once after each ``restart()``.
        case trouble(KeyBrokerError)
    }

    /// Asks the broker again.
    func restart() {
        watch.restart()
        (hasEnded, saysTrouble) = (false, true)
    }

    /// Looks for news, and has the poller report the next.
    func look(_ poller: Poller, as token: UInt64) throws(Failure) -> News {
        if hasEnded { return .none }
        let rotation: KeyRotation?
        do throws(KeyBrokerError) { rotation = try watch.advance() } catch {
            hasEnded = true
            return .ended(error)
        }
        if registered != watch.connections {
            registered = watch.connections
            try watch.register(with: poller, as: token)
        }
        if let rotation {
            saysTrouble = false
            return .rotated(rotation)
        }
        guard saysTrouble, let trouble = watch.trouble else { return .none }
        saysTrouble = false
        return .trouble(trouble)
    }

    /// How long until the next look, or nil if there is none before news.
    var wait: Duration? { hasEnded ? nil : watch.wait }
}
