// How long a caller is ready to wait, and for what: a broker that is not there yet, or is busy.
//
// Must never wait for what waiting does not mend: a denial, a missing file, a socket of somebody else's.

internal import Kernel
internal import Wire

/// The deadline of one call, and the way to call it off.
struct Deadline: Sendable {
    private let deadline: Instant
    private let wakeUp: WakeUp?

    /// How long between two attempts to reach a broker that is not there: at first, at most.
    static let firstPause = Duration.milliseconds(5), longestPause = Duration.milliseconds(200)

    init(_ wait: Duration, calledOffBy wakeUp: WakeUp?) {
        // Some 31 years are for ever, and cannot overflow.
        deadline = Instant.now.after(min(max(wait, .zero), .seconds(1_000_000_000)))
        self.wakeUp = wakeUp
    }

    /// Waits a moment, or throws `error` where that would be past the deadline.
    func pause(_ duration: Duration, orThrow error: KeyBrokerError) throws(KeyBrokerError) {
        let end = Instant.now.after(duration)
        guard end <= deadline else { throw error }
        guard try calling(try Kernel.pause(until: end, orCalledOffBy: wakeUp)) == .timedOut
        else { throw .cancelled }
    }

    /// Waits for a reply: never longer than a broker needs that is alive, however patient the caller.
    func waitForReply(_ socket: borrowing SeqpacketSocket, path: String) throws(KeyBrokerError) {
        let end = Instant.now.after(Limits.reply)
        let result = try calling(try waitUntilReadable(socket.descriptor, until: end, orCalledOffBy: wakeUp))
        switch result {
        case .ready: return
        case .timedOut: throw .noAnswer(socket: path, after: Limits.reply)
        case .calledOff: throw .cancelled
        }
    }
}
