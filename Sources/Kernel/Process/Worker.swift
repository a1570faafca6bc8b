// A second thread, for one job at a time that would keep the event loop from its clients.
//
// The loop gives it an order and takes the outcome: two values, and nothing else is shared. The loop stays the only owner
// of the daemon's state. The thread is made after the sandbox for files is in force, which it inherits, and confines its
// own system calls, as seccomp(2) is for each thread. So it has no right that the loop does not have. Must never be given
// anything that the loop goes on changing.

internal import Synchronization

/// A thread that does one job after the other.
package final class Worker<Order: Sendable, Outcome: Sendable>: Sendable {
    private struct State {
        var order: Order?
        var outcome: Outcome?
    }

    private let state = Mutex(State())
    private let ordered: WakeUp
    /// Rings when an outcome can be taken.
    private let done: WakeUp

    /// Makes the thread, and waits until it is confined. Calls `eventfd(2)` and `pthread_create(3)`.
    /// - Parameters:
    ///   - confine: what the thread does first. If it fails, so does this.
    ///   - work: the job.
    package init(
        confinedBy confine: @escaping @Sendable () throws(Failure) -> Void,
        _ work: @escaping @Sendable (Order) -> Outcome
    ) throws(Failure) {
        ordered = try WakeUp()
        done = try WakeUp()
        try startThread(preparedBy: confine) { [self] in
            while true {
                // The only possible error is a want of memory, after which it comes back here.
                try? ordered.takeOne()
                guard let order = state.withLock({ $0.order.take() }) else { continue }
                let outcome = work(order)
                state.withLock { $0.outcome = outcome }
                done.signal()
            }
        }
    }

    /// Gives the thread something to do. Call this only after the last outcome was taken.
    package func begin(_ order: Order) {
        state.withLock { $0.order = order }
        ordered.signal()
    }

    /// The outcome of the last order. Nil if there is none yet. Does not wait.
    package func take() -> Outcome? {
        done.silence()
        return state.withLock { $0.outcome.take() }
    }

    /// Has the poller report that an outcome can be taken.
    package func register(with poller: Poller, as token: UInt64) throws(Failure) {
        try done.register(with: poller, as: token)
    }
}
