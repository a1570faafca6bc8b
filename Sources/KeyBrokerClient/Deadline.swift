// How long a caller is ready to wait, and for what: a broker that is not there yet, or is busy.
//
// Must never wait for what waiting does not mend: a denial, a missing file, a socket of somebody else's. Must never
// let a broker that keeps sending keep its caller for longer than one that is silent.

internal import Kernel
internal import Wire

/// The deadline of one call, and the way to call it off.
struct Deadline: Sendable {
    /// When no further attempt begins.
    private let deadline: Instant
    /// When the call is over, whatever comes.
    private let end: Instant
    private let wakeUp: WakeUp?

    /// How long between two attempts to reach a broker that is not there: at first, at most.
    static let firstPause = Duration.milliseconds(5), longestPause = Duration.milliseconds(200)

    init(_ wait: Duration, calledOffBy wakeUp: WakeUp?) {
        // Some 31 years are for ever, and cannot overflow.
        deadline = Instant.now.after(min(max(wait, .zero), .seconds(1_000_000_000)))
        end = deadline.after(Limits.reply)
        self.wakeUp = wakeUp
    }

    /// Waits a moment, or throws `error` where that would be past the deadline.
    func pause(_ duration: Duration, orThrow error: KeyBrokerError) throws(KeyBrokerError) {
        let end = Instant.now.after(duration)
        guard end <= deadline else { throw error }
        guard try calling(try Kernel.pause(until: end, orCalledOffBy: wakeUp)) == .timedOut
        else { throw .cancelled }
    }

    /// When an answer that is asked for now must have come to its end: never later than a broker needs that is alive,
    /// however patient the caller.
    var answerEnd: Instant { min(Instant.now.after(Limits.reply), end) }

    /// Waits for a packet of an answer, until `end` at the latest.
    func waitForReply(_ socket: borrowing SeqpacketSocket, by end: Instant, path: String) throws(KeyBrokerError) {
        // Where the packets never end, there is always one to read.
        guard Instant.now < end else { throw .noAnswer(socket: path, after: Limits.reply) }
        let result = try calling(try waitUntilReadable(socket.descriptor, until: end, orCalledOffBy: wakeUp))
        switch result {
        case .ready: return
        case .timedOut: throw .noAnswer(socket: path, after: Limits.reply)
        case .calledOff: throw .cancelled
        }
    }
}
