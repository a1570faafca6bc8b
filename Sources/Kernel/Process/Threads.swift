// Starts threads.
//
// Must never start one before the process has forked its children: a child has only the thread that forked it.

internal import Glibc

/// Holds what a thread runs until it begins.
private final class Errand: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

/// Starts a thread that nobody waits for. Calls `pthread_create(3)`.
func startThread(_ body: @escaping @Sendable () -> Void) throws(Failure) {
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
