// What is received from a peer that may send descriptors, and how its connection ends.

import Testing

@testable import Kernel

struct UntrustedQueueTests {
    private var buffer = [UInt8](repeating: 0, count: 16)

    /// The ends of a connection, the first of which expects descriptors.
    private struct Ends: ~Copyable {
        var ours: SeqpacketSocket
        let theirs: SeqpacketSocket
    }

    private func ends() throws -> Ends {
        var pair = try SeqpacketSocket.pair()
        guard var ours = pair.first.take(), let theirs = pair.second.take() else { throw Failure("pair", code: 0) }
        try ours.expectDescriptors()
        return Ends(ours: ours, theirs: theirs)
    }

    /// The length of what is received, and whether it brought descriptors. -1 for nothing, -2 if there is nothing yet.
    private mutating func receive(_ socket: borrowing SeqpacketSocket) throws -> (length: Int, isMarked: Bool) {
        switch try socket.receive(into: &buffer) {
        case .packet(let length, _, let broughtDescriptors): (length, broughtDescriptors)
        case .nothing: (-1, false)
        case .wouldBlock: (-2, false)
        }
    }

    @Test mutating func anEmptyPacketIsNotTheEnd() throws {
        let ends = try ends()
        try ends.theirs.send([])
        try ends.theirs.send([1, 2])
        #expect(try receive(ends.ours) == (0, false))
        #expect(try receive(ends.ours) == (2, false))
        #expect(buffer.prefix(2) == [1, 2])
        #expect(try receive(ends.ours) == (-2, false))
        ends.theirs.takeNoMore()
        _ = consume ends.theirs
        // A process that another test is starting may hold a copy of that end for a moment.
        #expect(try waitUntilReadable(ends.ours.descriptor, until: .now.after(.seconds(20))) == .ready)
        #expect(try receive(ends.ours) == (-1, false))
    }

    @Test mutating func aPacketThatBringsDescriptorsStays() throws {
        let ends = try ends()
        let other = try self.ends()
        try ends.theirs.send([3], withCopyOf: other.theirs)
        try ends.theirs.send([4])
        for _ in 0..<2 { #expect(try receive(ends.ours) == (1, true)) }
        #expect(buffer.first == 3)
        let isEmpty = ends.ours.shutDownAndDrop()
        #expect(!isEmpty)
    }

    @Test func whatBringsNoDescriptorIsDropped() throws {
        let ends = try ends()
        for packet in [[], [1], [], [2]] as [[UInt8]] { try ends.theirs.send(packet) }
        let isEmpty = ends.ours.shutDownAndDrop()
        #expect(isEmpty)
        #expect((try? ends.theirs.send([1])) == nil)
    }

    /// A peer can have sent thousands of packets, which are not for who has others to serve.
    @Test(arguments: [true, false]) mutating func notMoreThanSomePacketsAreDroppedAtOnce(_ mayBringDescriptors: Bool)
        throws
    {
        var pair = try SeqpacketSocket.pair()
        guard var ours = pair.first.take(), let theirs = pair.second.take() else { throw Failure("pair", code: 0) }
        if mayBringDescriptors { try ours.expectDescriptors() }
        for _ in 0..<SeqpacketSocket.mostDropped + 2 { try theirs.send([7]) }
        ours.takeNoMore()
        #expect(try receive(ours) == (1, false))
        let isEmpty = ours.shutDownAndDrop()
        #expect(isEmpty)
        for _ in 0..<2 { #expect((try? theirs.send([7])) == nil) }
    }

    @Test func aLongQueueIsForTheCloser() throws {
        let closer = try Closer(most: 8)
        var pair = try SeqpacketSocket.pair()
        guard let ours = pair.first.take(), let theirs = pair.second.take() else { throw Failure("pair", code: 0) }
        for _ in 0..<2 * SeqpacketSocket.mostDropped { try theirs.send([7]) }
        closer.close(ours, of: 1)
        #expect((try? theirs.send([1])) == nil)
        while closer.waiting(of: 1) > 0 { _ = try pause(until: Instant.now.after(.milliseconds(1))) }
        let hasEnded = theirs.peerSendsNoMore
        #expect(hasEnded)
    }

    @Test func theCloserClosesWhatHasDescriptors() throws {
        let closer = try Closer(most: 8)
        var ends = try ends()
        var other = try self.ends()
        try ends.theirs.send([], withCopyOf: other.theirs)
        closer.close(ends.ours.take(), of: 1)
        // The peer learns of it at once.
        #expect((try? ends.theirs.send([1])) == nil)
        while closer.waiting(of: 1) > 0 { _ = try pause(until: Instant.now.after(.milliseconds(1))) }
        #expect(!closer.isFull)
        // An end in which nothing waits is closed here.
        closer.close(other.ours.take(), of: 1)
        #expect(closer.waiting(of: 1) == 0)
    }
}
