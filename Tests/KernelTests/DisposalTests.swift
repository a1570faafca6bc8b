// Processes that end with what they are sent: how long each of them takes more. LingerTests has them with a daemon.

import Synchronization
import Testing

@testable import Kernel

struct DisposalTests {
    /// Takes one packet, and returns whether it brought a descriptor. Nil at the end.
    private func receive(_ socket: borrowing SeqpacketSocket) throws -> Bool? {
        guard try waitUntilReadable(socket.descriptor, until: .now.after(.seconds(20))) == .ready,
            let delivery = try socket.receiveDelivery(limit: 1)
        else { throw Failure("poll", code: 0) }
        return delivery.packet.isEmpty ? nil : delivery.descriptorCount == 1
    }

    /// If too many have not ended yet, the last one takes more, until nothing has come for a while.
    @Test func theLastOneTakesMoreIfThereCanBeNoOther() throws {
        var pair = try SeqpacketSocket.pair()
        guard let ours = pair.first.take(), let theirs = pair.second.take() else { throw Failure("pair", code: 0) }
        let only = Mutex<SeqpacketSocket?>(consume ours)
        var disposal = Disposal { only.withLock { $0.take() } }
        let descriptor = try Descriptor.forReading("/dev/null")
        for _ in 0..<2 {
            let isTaken = disposal.take(descriptor)
            #expect(isTaken)
            #expect(try receive(theirs) == true)
            _ = try pause(until: disposal.end)
        }
        disposal.endIfOld()
        #expect(try receive(theirs) == nil)
        let isTaken = disposal.take(descriptor)
        #expect(!isTaken)
    }

    /// One that has ended is replaced.
    @Test func anotherOneTakesWhatOneDoesNot() throws {
        var first = try SeqpacketSocket.pair()
        var second = try SeqpacketSocket.pair()
        guard let early = first.first.take(), let living = second.first.take(), let theirs = second.second.take() else {
            throw Failure("pair", code: 0)
        }
        let one = Mutex<SeqpacketSocket?>(consume early)
        let other = Mutex<SeqpacketSocket?>(consume living)
        var disposal = Disposal {
            switch one.withLock({ $0.take() }) {
            case .some(let socket): socket
            case .none: other.withLock { $0.take() }
            }
        }
        let descriptor = try Descriptor.forReading("/dev/null")
        var isTaken = disposal.take(descriptor)
        #expect(isTaken)
        first.second = nil
        for _ in 0..<2 {
            isTaken = disposal.take(descriptor)
            #expect(isTaken)
            #expect(try receive(theirs) == true)
        }
    }
}
