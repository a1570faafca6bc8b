// A second thread, for one job at a time that would keep the event loop from its clients.
//
// The loop gives it an order and takes the outcome: two values, and nothing else is shared. The loop stays the only owner
// of the daemon's state. The thread is made after the sandbox for files is in force, which it inherits, and confines its
// own system calls, as seccomp(2) is for each thread. So it has no right that the loop does not have. Must never be given
// anything that the loop goes on changing.

internal import CKernel
internal import Glibc
internal import Synchronization

/// A thread that does one job after the other.
package final class Worker<Order: Sendable, Outcome: Sendable>: Sendable {
    private struct State {
        var order: Order?
        var outcome: Outcome?
        var isReady = false
        var fault: Failure?
    }

    private let state = Mutex(State())
    private let ordered: Bell
    /// Rings when an outcome can be taken.
    private let done: Bell

    /// Makes the thread, and waits until it is confined. Calls `eventfd(2)` and `pthread_create(3)`.
    /// - Parameters:
    ///   - confine: what the thread does first. If it fails, so does this.
    ///   - work: the job.
    package init(
        confinedBy confine: @escaping @Sendable () throws(Failure) -> Void,
        _ work: @escaping @Sendable (Order) -> Outcome
    ) throws(Failure) {
        ordered = try Bell()
        done = try Bell()
        try startThread { [self] in
            do throws(Failure) { try confine() } catch { state.withLock { $0.fault = error } }
            state.withLock { $0.isReady = true }
            done.ring()
            while true {
                ordered.wait()
                guard let order = state.withLock({ $0.order.take() }) else { continue }
                let outcome = work(order)
                state.withLock { $0.outcome = outcome }
                done.ring()
            }
        }
        while !state.withLock({ $0.isReady }) { done.wait() }
        if let fault = state.withLock({ $0.fault }) { throw fault }
    }

    /// Gives the thread something to do. Call this only after the last outcome was taken.
    package func begin(_ order: Order) {
        state.withLock { $0.order = order }
        ordered.ring()
    }

    /// The outcome of the last order. Nil if there is none yet. Does not wait.
    package func take() -> Outcome? {
        done.silence()
        return state.withLock { $0.outcome.take() }
    }

    /// Has the poller report that an outcome can be taken.
    package func register(with poller: Poller, as token: UInt64) throws(Failure) {
        try poller.watch(done.descriptor, for: .reading, as: token)
    }
}

/// Tells another thread that there is something to do (`eventfd(2)`).
private struct Bell: ~Copyable, Sendable {
    let descriptor: Descriptor

    init() throws(Failure) { descriptor = try Descriptor.opened(ck_eventfd(), by: "eventfd") }

    func ring() {
        let one: [UInt8] = [1, 0, 0, 0, 0, 0, 0, 0]
        // The only possible error is that the counter is full. Then it rings already.
        try? descriptor.writeAll(one)
    }

    /// Stops it. Calls `read(2)`.
    func silence() {
        var count: UInt64 = 0
        // Safety: read fills at most the one number.
        _ = unsafe read(descriptor.number, &count, MemoryLayout<UInt64>.size)
    }

    /// Waits until it rings, and stops it. Calls `poll(2)`.
    func wait() {
        // The only possible error is a want of memory, after which the caller comes back.
        _ = try? waitUntilReadable(descriptor, until: .never)
        silence()
    }
}

/// Holds what a thread runs until it begins.
private final class Errand: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

/// Starts a thread that nobody waits for. Calls `pthread_create(3)`.
private func startThread(_ body: @escaping @Sendable () -> Void) throws(Failure) {
    var thread = pthread_t()
    // Safety: the thread takes over the one reference that is handed to it. If there is no thread, it is taken back.
    let errand = unsafe Unmanaged.passRetained(Errand(body))
    let code = unsafe pthread_create(
        &thread, nil,
        { argument in
            guard let argument = unsafe argument else { return nil }
            unsafe Unmanaged<Errand>.fromOpaque(argument).takeRetainedValue().body()
            return nil
        }, errand.toOpaque())
    guard code == 0 else {
        unsafe errand.release()
        throw Failure("pthread_create", code: code)
    }
    pthread_detach(thread)
}
