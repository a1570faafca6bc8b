// Up to two descriptors that wait for somebody to take them, send them or close them.
//
// Must never be dropped in the event loop, or in the main thread of the process that opens keys, if they are of a file
// system that may hang: `close()` is for a thread that may.

internal import Kernel
internal import Synchronization

final class OpenFiles: Sendable {
    private struct Both: ~Copyable, Sendable {
        var first: Descriptor?
        var second: Descriptor?
    }
    private let both: Mutex<Both>

    init(_ first: consuming Descriptor?, _ second: consuming Descriptor?) {
        both = Mutex(Both(first: first, second: second))
    }

    func takeFirst() -> Descriptor? { both.withLock { $0.first.take() } }

    func takeSecond() -> Descriptor? { both.withLock { $0.second.take() } }

    func send(_ packet: [UInt8], on socket: borrowing SeqpacketSocket) throws(Failure) {
        try both.withLock { both throws(Failure) in try socket.send(packet, with: both.first, and: both.second) }
    }

    func close() {
        _ = takeFirst()
        _ = takeSecond()
    }
}
