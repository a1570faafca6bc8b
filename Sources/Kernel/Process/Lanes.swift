// A few threads for jobs that may take for ever. Jobs of one lane are done one after the other, so a lane that hangs
// takes one thread and no more.
//
// Must never be used in the daemon's own process: a thread that hangs in the kernel keeps its process from ending.

internal import Synchronization

/// Threads that share the lanes among them.
package final class Lanes: Sendable {
    package typealias Job = @Sendable () -> Void

    private struct State {
        var waiting: [(lane: UInt64, job: Job)] = []
        /// The lanes whose job a thread does now.
        var busy: Set<UInt64> = []

        /// The next job whose lane is free, and whether there is another one after it.
        mutating func next() -> (lane: UInt64, job: Job, hasMore: Bool)? {
            guard let index = waiting.firstIndex(where: { !busy.contains($0.lane) }) else { return nil }
            let (lane, job) = waiting.remove(at: index)
            busy.insert(lane)
            return (lane, job, waiting.contains { !busy.contains($0.lane) })
        }
    }

    private let state = Mutex(State())
    private let bell: WakeUp

    /// Makes the threads. Calls `eventfd(2)` and `pthread_create(3)`.
    /// - Parameter begin: what each thread does first, and whether it may go on.
    package init(threads: Int, _ begin: @escaping Job) throws(Failure) {
        bell = try WakeUp()
        for _ in 0..<threads {
            try startThread { [self] in
                begin()
                while true {
                    // The only possible error is a want of memory. Then it is tried again.
                    try? bell.takeOne()
                    while let (lane, job, hasMore) = state.withLock({ $0.next() }) {
                        if hasMore { bell.signal() }
                        job()
                        state.withLock { _ = $0.busy.remove(lane) }
                    }
                }
            }
        }
    }

    /// Has a job done, after all earlier ones of its lane.
    package func add(in lane: UInt64, _ job: @escaping Job) {
        state.withLock { $0.waiting.append((lane, job)) }
        bell.signal()
    }
}
