// Starts threads.
//
// Must never start one before the process has forked its children: a child has only the thread that forked it.

internal import CKernel
internal import Glibc
internal import Synchronization

/// Holds what a thread runs until it begins.
private final class Errand: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

extension ChildProcess {
    /// In a child: goes on in a new thread, while the first one waits for ever. Call this before another thread is made.
    ///
    /// Swift's locks know a thread by its number, and keep that in memory. The first thread of a child has the number of
    /// its parent there. If it and another thread want the same lock, both try without end.
    /// - Parameters:
    ///   - isOpener: true in the child that opens keys: the first thread gets that child's filter of system calls. False
    ///     if `body` has all threads confined.
    ///   - body: ends the process when it is done.
    package static func goOnInNewThread(
        isOpener: Bool, _ body: @escaping @Sendable () -> Never
    ) throws(Failure) -> Never {
        try startThread { body() }
        if isOpener { ck_wait_for_ever(1) }
        ck_wait_unconfined()
    }
}

/// Starts a thread that nobody waits for. Calls `pthread_create(3)`.
package func startThread(_ body: @escaping @Sendable () -> Void) throws(Failure) {
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

/// What a thread tells of its beginning. The thread keeps this object, so it lets go of the descriptor.
private final class Beginning: Sendable {
    private let bell: Mutex<WakeUp?>
    let fault = Mutex<Failure?>(nil)
    init(_ bell: WakeUp) { self.bell = Mutex(bell) }
    func end() { bell.withLock { $0.take() }?.signal() }
}

/// Starts a thread that nobody waits for, and waits until it has prepared itself: as a rule, until its system calls are
/// confined, as seccomp(2) is for each thread. Calls `eventfd(2)` and `pthread_create(3)`.
/// - Parameters:
///   - prepare: what the thread does first. If it fails, so does this.
///   - body: what the thread does then.
func startThread<Prepared>(
    preparedBy prepare: @escaping @Sendable () throws(Failure) -> Prepared,
    _ body: @escaping @Sendable (Prepared) -> Void
) throws(Failure) {
    let isOver = try WakeUp()
    let beginning = Beginning(isOver)
    try startThread {
        let prepared: Prepared
        do throws(Failure) { prepared = try prepare() } catch {
            beginning.fault.withLock { $0 = error }
            return beginning.end()
        }
        beginning.end()
        body(prepared)
    }
    // The only possible error is a want of memory.
    while (try? isOver.takeOne()) == nil {}
    if let fault = beginning.fault.withLock({ $0 }) { throw fault }
}
