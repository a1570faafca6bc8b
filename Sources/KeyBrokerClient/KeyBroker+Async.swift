// The same requests for asynchronous callers.
//
// Must never wait on the thread pool that tasks run on: each request has a thread of its own. The wait ends if the task
// is cancelled.

internal import Dispatch
internal import Kernel
internal import Synchronization

extension KeyBroker {
    /// Asks for a key without blocking the caller's thread. If the task is cancelled, it throws
    /// ``KeyBrokerError/cancelled``. Otherwise it behaves as the synchronous form.
    public func key(_ name: String, waitingUpTo wait: Duration = .zero) async throws(KeyBrokerError) -> KeyDescriptor {
        let parcel = try await onOwnThread(wait) { patience throws(KeyBrokerError) in
            Parcel(try key(name, patience))
        }
        return try parcel.take()
    }

    /// Asks for the right to have a key sign, without blocking the caller's thread. If the task is cancelled, it throws
    /// ``KeyBrokerError/cancelled``. Otherwise it behaves as the synchronous form.
    public func signer(_ name: String, waitingUpTo wait: Duration = .zero) async throws(KeyBrokerError) -> Signer {
        let parcel = try await onOwnThread(wait) { patience throws(KeyBrokerError) in
            Parcel(try signer(name, patience))
        }
        return try parcel.take()
    }

    /// The names of the keys that the caller may get, without blocking the caller's thread.
    public func keys(waitingUpTo wait: Duration = .zero) async throws(KeyBrokerError) -> [String] {
        try await onOwnThread(wait) { patience throws(KeyBrokerError) in try keys(patience) }
    }

    /// The version of the broker's program, without blocking the caller's thread.
    public func version(waitingUpTo wait: Duration = .zero) async throws(KeyBrokerError) -> String {
        try await onOwnThread(wait) { patience throws(KeyBrokerError) in try version(patience) }
    }

    private func onOwnThread<R: Sendable>(
        _ wait: Duration, _ body: @escaping @Sendable (Deadline) throws(KeyBrokerError) -> R
    ) async throws(KeyBrokerError) -> R {
        // Counted from now, even if the thread takes its time to begin.
        let patience = Deadline(wait, calledOffBy: nil)
        // A queue of its own, as the threads of the global one are few.
        let queue = DispatchQueue(label: "keybroker request")
        return try await onThread(of: queue) { wakeUp throws(KeyBrokerError) in
            try body(patience.calledOff(by: wakeUp))
        }
    }
}

/// Runs `body` on a thread of the queue. If the task is cancelled, it signals the object that is passed to `body`.
func onThread<R: Sendable>(
    of queue: DispatchQueue, _ body: @escaping @Sendable (WakeUp) throws(KeyBrokerError) -> R
) async throws(KeyBrokerError) -> R {
    let wakeUp: WakeUp
    do throws(Failure) { wakeUp = try WakeUp() } catch { throw KeyBrokerError(error) }
    let result: Result<R, KeyBrokerError> = await withTaskCancellationHandler {
        await withCheckedContinuation { continuation in
            queue.async {
                continuation.resume(returning: Result { () throws(KeyBrokerError) in try body(wakeUp) })
            }
        }
    } onCancel: {
        wakeUp.signal()
    }
    return try result.get()
}

/// Carries a value that cannot be copied through a function that takes only copyable values.
private final class Parcel<Content: ~Copyable & Sendable>: Sendable {
    private let content: Mutex<Content?>

    init(_ content: consuming Content) { self.content = Mutex(content) }

    func take() throws(KeyBrokerError) -> Content {
        switch content.withLock({ $0.take() }) {
        case .some(let content): return content
        case .none: throw .protocolViolation("the reply was taken twice")
        }
    }
}
