// Closes, in another thread, what clients may have sent descriptors on.
//
// Closing the last reference to something can take as long as its owner wants: a TCP socket that lingers, or a Unix socket
// with one in its queue. So a process is given what came from outside, and ends with it (`Process/Disposal.swift`). If there is
// none, the thread closes it, and a timer interrupts that after a millisecond; what cannot be interrupted, such as a file of
// one's own file system, then keeps the thread, and what others have sent stays open as well. A queue of ten thousand packets
// takes some milliseconds, too. Must never be used for what has to be closed before something else happens.

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
    ///   - dispose: makes a process that ends with what it is sent, and returns the end of a socket to it. Nil if there can be
    ///     none now.
    ///   - confine: what the thread does first. If it fails, so does this.
    package init(
        most: Int, into dispose: @escaping @Sendable () -> SeqpacketSocket? = { nil },
        confinedBy confine: @escaping @Sendable () throws(Failure) -> Void = { () throws(Failure) in }
    ) throws(Failure) {
        self.most = most
        bell = try WakeUp()
        let prepare: @Sendable () throws(Failure) -> Int32 = { () throws(Failure) in
            // Without one, each takes as long as it takes.
            let timer = ck_interrupting_timer()
            try confine()
            return timer
        }
        try startThread(preparedBy: prepare) { [self] timer in
            var disposal = Disposal(dispose)
            while true {
                // The only possible error is a want of memory, after which it comes back here.
                try? bell.takeOne(until: disposal.end)
                while let entry = state.withLock({ $0.next() }) {
                    Self.close(entry, &disposal, timer)
                    state.withLock { $0.noteClosed(entry.account) }
                }
                disposal.endIfOld()
            }
        }
    }

    private static func close(_ entry: Entry, _ disposal: inout Disposal, _ timer: Int32) {
        let descriptor = Descriptor(taking: entry.descriptor)
        if entry.kind == .harmless || disposal.take(descriptor) { return }
        ck_close_interrupted(timer, descriptor.release(), entry.kind == .connection ? 1 : 0)
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

    /// Waits until all is closed or given away, but not longer than until `deadline`.
    package func finish(until deadline: Instant) {
        while Instant.now < deadline, state.withLock({ !$0.waiting.isEmpty }) {
            _ = try? pause(until: Instant.now.after(.milliseconds(1)))
        }
    }

    /// Whether as many wait as may.
    package var isFull: Bool { state.withLock { $0.queue.count - $0.first >= most } }
}
