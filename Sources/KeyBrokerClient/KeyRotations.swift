// The contents of a watched key as an asynchronous sequence.
//
// Must never wait on the thread pool that tasks run on. The wait ends if the task is cancelled.

internal import Dispatch
internal import Kernel
internal import Synchronization

extension KeyBroker {
    /// Watches a key from a task: each element is one content of it, beginning with the current one.
    ///
    /// ```swift
    /// for try await rotation in KeyBroker().rotations(of: "web-tls") {
    ///     try use(try rotation.key.readKey())
    /// }
    /// ```
    ///
    /// Each iterator has a connection of its own. A restart of the broker does not end the sequence, and a rotation that
    /// happened meanwhile is not lost. While the broker is away, or cannot hand out the key, the sequence waits. A slow
    /// reader gets the newest content. The sequence ends by throwing ``KeyBrokerError``: if the caller may not have the
    /// key (any more), or if its task is cancelled.
    /// - Parameter name: the key's name in the policy.
    public func rotations(of name: String) -> KeyRotations { KeyRotations(name: name, broker: self) }
}

/// The contents of a watched key, one after the other. See ``KeyBroker/rotations(of:)``.
public struct KeyRotations: AsyncSequence, Sendable {
    public typealias Element = KeyRotation
    public typealias Failure = KeyBrokerError

    fileprivate let name: String
    fileprivate let broker: KeyBroker

    public func makeAsyncIterator() -> Iterator { Iterator(name, broker) }

    /// Keeps the watch between two elements. While it waits, it holds a thread of its own.
    public struct Iterator: AsyncIteratorProtocol {
        private let watch: Result<SharedWatch, KeyBrokerError>

        fileprivate init(_ name: String, _ broker: KeyBroker) {
            watch = Result { () throws(KeyBrokerError) in SharedWatch(try broker.watch(name)) }
        }

        /// Waits for the next content. It is never nil.
        public mutating func next(
            isolation actor: isolated (any Actor)? = #isolation
        ) async throws(KeyBrokerError) -> KeyRotation? {
            let watch = try watch.get()
            return try await onThread(of: watch.queue) { wakeUp throws(KeyBrokerError) in
                try watch.next(calledOffBy: wakeUp)
            }
        }
    }
}

/// A watch that a task and the thread that waits for it share.
private final class SharedWatch: Sendable {
    private let watch: Mutex<KeyWatch>
    /// A queue of its own, as the threads of the global one are few.
    let queue: DispatchQueue

    init(_ watch: consuming KeyWatch) {
        queue = DispatchQueue(label: "keybroker watch of \(watch.name)")
        self.watch = Mutex(watch)
    }

    func next(calledOffBy wakeUp: WakeUp) throws(KeyBrokerError) -> KeyRotation {
        try watch.withLock { watch throws(KeyBrokerError) in
            while true {
                if let rotation = try watch.next(until: .never, calledOffBy: wakeUp) { return rotation }
            }
        }
    }
}
