// How long a caller is ready to wait, and for what: a broker that is not there yet, or is busy.
//
// Must never wait for what waiting does not mend: a denial, a missing file, a socket of somebody else's.

internal import Kernel
internal import Wire

/// The deadline of one call, and the way to call it off.
struct Deadline: Sendable {
    private let deadline: Instant
    private let wakeUp: WakeUp?

    /// How long between two attempts to reach a broker that is not there, in milliseconds: at first, at most.
    static let firstPause = 5
    static let longestPause = 200

    init(_ wait: Duration, calledOffBy wakeUp: WakeUp?) {
        // Some 31 years are for ever, and cannot overflow.
        let milliseconds = min(max(wait / .milliseconds(1), 0), 1e12)
        deadline = Instant.now.after(milliseconds: Int(milliseconds))
        self.wakeUp = wakeUp
    }

    /// Waits a moment, or throws `error` where that would be past the deadline.
    func pause(milliseconds: Int, orThrow error: KeyBrokerError) throws(KeyBrokerError) {
        let end = Instant.now.after(milliseconds: milliseconds)
        guard end <= deadline else { throw error }
        guard try calling(try Kernel.pause(until: end, orCalledOffBy: wakeUp)) == .timedOut
        else { throw .cancelled }
    }

    /// Waits for a reply: never longer than a broker needs that is alive, however patient the caller.
    func waitForReply(_ socket: borrowing SeqpacketSocket, path: String) throws(KeyBrokerError) {
        let end = Instant.now.after(milliseconds: Limits.replyMilliseconds)
        let result = try calling(try waitUntilReadable(socket.descriptor, until: end, orCalledOffBy: wakeUp))
        switch result {
        case .ready: return
        case .timedOut: throw .noAnswer(socket: path, after: .milliseconds(Limits.replyMilliseconds))
        case .calledOff: throw .cancelled
        }
    }
}
