// How long a caller is willing to wait for a broker that has not started yet or is busy.
//
// Must never wait for something that waiting cannot change: a denial, a missing file, or a socket of somebody else.
// Must never let a broker that keeps sending hold its caller longer than a silent one.

internal import Kernel
internal import Wire

/// The deadline of one call, and a way to cancel the call.
struct Deadline: Sendable {
    /// No new attempt begins after this moment.
    private let deadline: Instant
    /// The call ends at this moment in any case.
    private let end: Instant
    /// What cancels the call.
    private(set) var wakeUp: WakeUp?

    /// The pause between two attempts to reach a broker that does not run: the first pause, and the longest.
    static let firstPause = Duration.milliseconds(5), longestPause = Duration.milliseconds(200)
    /// How long a watch must have lasted before the first pause after it is the short one again.
    static let steady = Duration.seconds(1)

    init(_ wait: Duration, calledOffBy wakeUp: WakeUp?) {
        // About 31 years are as good as no limit, and cannot overflow.
        deadline = Instant.now.after(min(max(wait, .zero), .seconds(1_000_000_000)))
        end = deadline.after(Limits.reply)
        self.wakeUp = wakeUp
    }

    /// The call ends at that moment, whatever it waits for.
    init(until end: Instant) { (deadline, self.end, wakeUp) = (end, end, nil) }

    /// The same moments, for a call that `wakeUp` cancels.
    func calledOff(by wakeUp: WakeUp) -> Deadline {
        var same = self
        same.wakeUp = wakeUp
        return same
    }

    /// Waits for `duration`, or throws `error` if that would end after the deadline.
    func pause(_ duration: Duration, orThrow error: KeyBrokerError) throws(KeyBrokerError) {
        let end = Instant.now.after(duration)
        guard end <= deadline else { throw error }
        guard try calling(try Kernel.pause(until: end, orCalledOffBy: wakeUp)) == .timedOut
        else { throw .cancelled }
    }

    /// When an answer to a request that is sent now must be complete. A patient caller waits no longer than others,
    /// because a working broker answers within that time.
    var answerEnd: Instant { min(Instant.now.after(Limits.reply), end) }

    /// Waits for a packet of an answer, at most until `end`.
    func waitForReply(_ socket: borrowing SeqpacketSocket, by end: Instant, path: String) throws(KeyBrokerError) {
        // Without this check, a broker that sends packets without an end would never be timed out.
        guard Instant.now < end else { throw .noAnswer(socket: path, after: Limits.reply) }
        let result = try calling(try waitUntilReadable(socket.descriptor, until: end, orCalledOffBy: wakeUp))
        switch result {
        case .ready: return
        case .timedOut: throw .noAnswer(socket: path, after: Limits.reply)
        case .calledOff: throw .cancelled
        }
    }
}
