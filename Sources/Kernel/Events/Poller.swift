// Tells which of many file descriptors are ready, with level-triggered epoll unless the caller asks for arrivals.
//
// Must never use the descriptor as the user data, only the caller's own token: the kernel reuses descriptor numbers, so
// an event could be taken for one of another connection.

internal import CKernel
internal import Glibc

/// An epoll instance (`epoll(7)`).
package final class Poller {
    /// What to wait for on one descriptor.
    package enum Interest {
        case reading, writing
        /// As `reading`, but each packet that arrives is reported once. Who is told must read until there is no more.
        case arrivals
        /// Only whether the peer has hung up. The kernel always reports that.
        case hangUp
    }

    /// A descriptor that is ready, and for what.
    package struct Event {
        package let token: UInt64
        package let isReadable: Bool
        package let isWritable: Bool
        /// The peer will send nothing more. What it sent before may still be unread.
        package let peerIsDone: Bool
        /// The connection is closed or broken.
        package let isHungUp: Bool

        /// An event that was not reported: the descriptor may be readable.
        package static func readable(_ token: UInt64) -> Event {
            Event(token: token, isReadable: true, isWritable: false, peerIsDone: false, isHungUp: false)
        }
    }

    private let descriptor: Descriptor
    private var ready: [ck_event]
    /// What `wait` returned last, whose memory is used again.
    private var events: [Event] = []

    /// Calls `epoll_create1(2)`.
    /// - Parameter capacity: the largest number of descriptors that will be watched. One `wait` can then report all
    ///   that are ready, so none is starved.
    package init(capacity: Int) throws(Failure) {
        descriptor = try Descriptor.opened(ck_epoll(), by: "epoll_create1")
        ready = [ck_event](repeating: ck_event(), count: capacity)
    }

    /// Starts to watch a descriptor. Closing the descriptor ends the watch. Calls `epoll_ctl(2)`.
    package func watch(
        _ watched: borrowing Descriptor, for interest: Interest, as token: UInt64
    ) throws(Failure) {
        try set(watched, isKnown: false, interest, token)
    }

    /// Changes which events are reported for a descriptor. Calls `epoll_ctl(2)`.
    package func change(
        _ watched: borrowing Descriptor, to interest: Interest, as token: UInt64
    ) throws(Failure) {
        try set(watched, isKnown: true, interest, token)
    }

    /// Stops watching a descriptor. Calls `epoll_ctl(2)`.
    package func forget(_ watched: borrowing Descriptor) throws(Failure) {
        _ = try succeed(ck_epoll_remove(descriptor.number, watched.number), "epoll_ctl")
    }

    private func set(
        _ watched: borrowing Descriptor, isKnown: Bool, _ interest: Interest, _ token: UInt64
    ) throws(Failure) {
        let events =
            switch interest {
            case .reading, .arrivals: ck_readable | ck_peer_done
            case .writing: ck_writable
            case .hangUp: 0
            }
        let once = interest == .arrivals ? ck_once : 0
        _ = try succeed(
            ck_epoll_set(descriptor.number, isKnown ? 1 : 0, watched.number, UInt32(events) | once, token), "epoll_ctl")
    }

    /// Waits until something is ready and returns all that is. Returns an empty list if the time is over or a signal
    /// handler ran. Calls `epoll_wait(2)`.
    /// - Parameter duration: the longest wait; nil means no limit.
    package func wait(atMost duration: Duration?) throws(Failure) -> [Event] {
        let timeout = duration.map { Int32(clamping: $0.wholeMilliseconds) } ?? -1
        let number = descriptor.number
        // Safety: epoll_wait fills at most as many structs as the array holds.
        let result = unsafe ready.withUnsafeMutableBufferPointer { events in
            unsafe ck_epoll_wait(number, events.baseAddress, Int32(clamping: events.count), timeout)
        }
        if result == -EINTR { return [] }
        let count = Int(try succeed(result, "epoll_wait"))
        events.removeAll(keepingCapacity: true)
        for index in 0..<count {
            let (bits, token) = (ready[index].events, ready[index].token)
            func has(_ some: Int) -> Bool { bits & UInt32(some) != 0 }
            events.append(
                Event(
                    token: token, isReadable: has(ck_readable), isWritable: has(ck_writable),
                    peerIsDone: has(ck_peer_done), isHungUp: has(ck_hung_up | ck_broken)))
        }
        return events
    }
}
