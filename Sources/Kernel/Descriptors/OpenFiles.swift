// Up to two descriptors that wait for somebody to take them, send them or close them.
//
// Must never be dropped in the event loop, or in the main thread of the process that opens keys, if they are of a file
// system that may hang: `close()` is for a thread that may.

internal import Synchronization

/// Up to two open descriptors, which whoever holds them can take from any thread.
package final class OpenFiles: Sendable {
    private struct Both: ~Copyable, Sendable {
        var first: Descriptor?
        var second: Descriptor?
    }
    private let both: Mutex<Both>

    package init(_ first: consuming Descriptor?, _ second: consuming Descriptor?) {
        both = Mutex(Both(first: first, second: second))
    }

    package func takeFirst() -> Descriptor? { both.withLock { $0.first.take() } }

    package func takeSecond() -> Descriptor? { both.withLock { $0.second.take() } }

    package func send(_ packet: [UInt8], on socket: borrowing SeqpacketSocket) throws(Failure) {
        try both.withLock { both throws(Failure) in try socket.send(packet, with: both.first, and: both.second) }
    }

    package func close() {
        _ = takeFirst()
        _ = takeSecond()
    }
}
