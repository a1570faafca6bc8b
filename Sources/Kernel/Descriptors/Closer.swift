// Closes, in another thread, what clients may have sent descriptors on.
//
// Closing the last reference to something can take as long as its owner wants: a TCP socket that lingers, or a Unix socket
// with one in its queue. A timer interrupts that after a millisecond. What cannot be interrupted, such as a file of one's own
// file system, keeps the thread; then what others have sent stays open as well. A queue of ten thousand packets takes some
// milliseconds, too. Must never be used for what has to be closed before something else happens.

internal import CKernel
internal import Synchronization

/// A thread that closes descriptors, one after the other.
package final class Closer: Sendable {
    private struct Entry {
        let descriptor: Int32
        let account: UInt32
        let kind: Kind
    }

    private enum Kind {
        /// Nothing that comes with it can take long.
        case harmless
        case untrusted
        /// Some of its packets are dropped first: else its peer could not read the last reply.
        case connection
    }

    private struct State {
        var queue: [Entry] = [], first = 0
        /// How many of each account are not closed yet.
        var waiting: [UInt32: Int] = [:]
        var fault: Failure?

        mutating func next() -> Entry? {
            // What was taken is forgotten from time to time, also if there is always more.
            if first == queue.count || first >= 1024 {
                queue.removeFirst(first)
                first = 0
            }
            guard first < queue.count else { return nil }
            defer { first += 1 }
            return queue[first]
        }

        mutating func noteClosed(_ account: UInt32) {
            let others = waiting[account, default: 1] - 1
            waiting[account] = others > 0 ? others : nil
        }
    }

    private let state = Mutex(State())
    private let bell: WakeUp
    private let most: Int

    /// Starts the thread, and waits until it is confined. Calls `eventfd(2)`, `pthread_create(3)` and `timer_create(2)`.
    /// - Parameters:
    ///   - most: how many may wait. It is for the caller to see that there are no more: see ``isFull``.
    ///   - confine: what the thread does first. If it fails, so does this.
    package init(
        most: Int, confinedBy confine: @escaping @Sendable () throws(Failure) -> Void = { () throws(Failure) in }
    ) throws(Failure) {
        self.most = most
        bell = try WakeUp()
        let begun = try WakeUp()
        try startThread { [self] in
            // Without one, each takes as long as it takes.
            let timer = ck_interrupting_timer()
            do throws(Failure) { try confine() } catch { state.withLock { $0.fault = error } }
            begun.signal()
            while true {
                // The only possible error is a want of memory, after which it comes back here.
                try? bell.takeOne()
                while let entry = state.withLock({ $0.next() }) {
                    ck_close_interrupted(
                        entry.kind == .harmless ? -1 : timer, entry.descriptor, entry.kind == .connection ? 1 : 0)
                    state.withLock { $0.noteClosed(entry.account) }
                }
            }
        }
        try begun.takeOne()
        if let fault = state.withLock({ $0.fault }) { throw fault }
    }

    /// Has the descriptor closed.
    /// - Parameter account: for whom it is counted until it is closed.
    package func close(_ descriptor: consuming Descriptor, of account: UInt32) {
        add(Entry(descriptor: descriptor.release(), account: account, kind: .untrusted))
        bell.signal()
    }

    private func add(_ entry: Entry) {
        state.withLock { state in
            state.queue.append(entry)
            state.waiting[entry.account, default: 0] += 1
        }
    }

    /// Closes a socket, whose peer notices at once. That is done here if nothing waits in it that could take long: at most
    /// some packets without descriptors. Calls `shutdown(2)`, `recvmsg(2)` and `close(2)`.
    /// - Parameter isEmpty: whether it is known that nothing waits in it. Then it is only closed.
    package func close(_ socket: consuming SeqpacketSocket, of account: UInt32, isEmpty: Bool = false) {
        guard !isEmpty, !socket.shutDownAndDrop() else { return }
        add(Entry(descriptor: socket.intoDescriptor().release(), account: account, kind: .connection))
        bell.signal()
    }

    /// Has a socket closed on which nothing was sent or received, one of many, once ``begin()`` is called.
    package func closeOneOfMany(_ socket: consuming SeqpacketSocket, of account: UInt32) {
        guard !socket.mayBringDescriptors else { return close(socket, of: account) }
        add(Entry(descriptor: socket.intoDescriptor().release(), account: account, kind: .harmless))
    }

    /// Begins to close what was added.
    package func begin() { bell.signal() }

    /// How many of an account's descriptors wait to be closed.
    package func waiting(of account: UInt32) -> Int { state.withLock { $0.waiting[account, default: 0] } }

    /// Whether as many wait as may.
    package var isFull: Bool { state.withLock { $0.queue.count - $0.first >= most } }
}
