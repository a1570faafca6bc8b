// Waits for one file descriptor, with a deadline and a way to cancel. It is for clients, which wait for one thing only.
//
// Must never be used in the daemon's event loop, which waits for many descriptors with its Poller.

internal import CKernel
internal import Glibc

/// Ends a wait in another thread (`eventfd(2)`).
package final class WakeUp: Sendable {
    fileprivate let descriptor: Descriptor

    package init() throws(Failure) { descriptor = try Descriptor.opened(ck_eventfd(), by: "eventfd") }

    /// Ends every wait that uses this object, now and in the future.
    package func signal() {
        let one: [UInt8] = [1, 0, 0, 0, 0, 0, 0, 0]
        // The only possible error is that the counter is full. Then the descriptor is readable already.
        try? descriptor.writeAll(one)
    }

    /// Has the poller report it.
    package func register(with poller: Poller, as token: UInt64) throws(Failure) {
        try poller.watch(descriptor, for: .reading, as: token)
    }

    /// Takes all signals that were given. Calls `read(2)`.
    package func silence() {
        var count: UInt64 = 0
        // Safety: read fills at most the one number.
        _ = unsafe Glibc.read(descriptor.number, &count, MemoryLayout<UInt64>.size)
    }

    /// Waits for a signal until `deadline`, and takes all that were given. If several threads wait, one of them returns. Calls
    /// `poll(2)` and `read(2)`.
    func takeOne(until deadline: Instant = .never) throws(Failure) {
        while true {
            guard try waitUntilReadable(descriptor, until: deadline) == .ready else { return }
            var count: UInt64 = 0
            // Safety: read fills at most the one number.
            if unsafe Glibc.read(descriptor.number, &count, MemoryLayout<UInt64>.size) > 0 { return }
        }
    }
}

/// How a wait ended.
package enum WaitOutcome: Equatable, Sendable { case ready, timedOut, calledOff }

/// Waits until the descriptor is readable, `deadline` has passed or `wakeUp` was signalled. Calls `poll(2)`.
package func waitUntilReadable(
    _ descriptor: borrowing Descriptor, until deadline: Instant, orCalledOffBy wakeUp: WakeUp? = nil
) throws(Failure) -> WaitOutcome {
    try wait([pollfd(fd: descriptor.number, events: Int16(POLLIN), revents: 0)], deadline, wakeUp)
}

/// Waits until `deadline` has passed or `wakeUp` was signalled. Calls `poll(2)`.
package func pause(until deadline: Instant, orCalledOffBy wakeUp: WakeUp? = nil) throws(Failure) -> WaitOutcome {
    try wait([], deadline, wakeUp)
}

private func wait(_ what: [pollfd], _ deadline: Instant, _ wakeUp: WakeUp?) throws(Failure) -> WaitOutcome {
    var polled = what
    if let wakeUp { polled.append(pollfd(fd: wakeUp.descriptor.number, events: Int16(POLLIN), revents: 0)) }
    while true {
        let rest = Instant.now.until(deadline)
        let (count, milliseconds) = (nfds_t(polled.count), Int32(clamping: rest.wholeMilliseconds))
        // Safety: poll changes at most as many structs as the array holds.
        let result = unsafe poll(&polled, count, milliseconds)
        if result < 0 {
            let code = errno
            if code == EINTR { continue }
            throw Failure("poll", code: code)
        }
        if wakeUp != nil, polled[polled.count - 1].revents != 0 { return .calledOff }
        if !what.isEmpty, polled[0].revents != 0 { return .ready }
        if rest == .zero { return .timedOut }
    }
}
