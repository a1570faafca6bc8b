// Receives from a peer that may have sent descriptors, and never gets one of them. For a kernel that does not refuse them.
//
// A descriptor that is dropped is closed, and closing can take as long as its owner wants. So a packet that brings some stays
// where it is, and the socket with it is for the `Closer`. Must never take a packet before it was looked at.

internal import CKernel
internal import Glibc

extension SeqpacketSocket {
    /// From now on the peer's packets are looked at before they are taken. Has each packet say which process sent it, which
    /// also tells an empty packet from the end of the connection. Calls `setsockopt(SO_PASSCRED)`.
    package mutating func expectDescriptors() throws(Failure) {
        try wantSenders()
        mayBringDescriptors = true
    }

    private enum Next {
        case packet(ck_received)
        case end
        case wouldBlock
    }

    /// Looks at the next packet.
    private borrowing func look(into buffer: inout [UInt8]) throws(Failure) -> Next {
        var received = ck_received()
        let number = descriptor.number
        // Safety: the call writes at most `count` bytes to the array's own storage, and fills one struct.
        let result = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe ck_look(number, bytes.baseAddress, bytes.count, &received)
        }
        if result == -EAGAIN { return .wouldBlock }
        return try succeed(result, "recvmsg") > 0 ? .packet(received) : .end
    }

    /// Receives a packet after ``expectDescriptors()``. One that brings descriptors stays in the queue with them. Calls
    /// `recvmsg(2)` and `recvfrom(2)`.
    borrowing func receiveLeavingDescriptors(into buffer: inout [UInt8]) throws(Failure) -> Received {
        switch try look(into: &buffer) {
        case .wouldBlock: return .wouldBlock
        case .end: return .nothing
        case .packet(let packet):
            let bringsDescriptors = packet.descriptors_cut != 0
            if !bringsDescriptors { _ = try succeed(ck_drop_packet(descriptor.number), "recvfrom") }
            return .packet(
                length: packet.length, isCut: packet.bytes_cut != 0, broughtDescriptors: bringsDescriptors)
        }
    }

    /// Ends both directions, and drops what the peer has sent, up to a packet that brings descriptors. Returns whether
    /// nothing is left: then closing takes no time. Calls `shutdown(2)`, `recvmsg(2)` and `recvfrom(2)`.
    borrowing func shutDownAndDrop() -> Bool {
        _ = shutdown(descriptor.number, Int32(SHUT_RDWR))
        return dropPackets()
    }

    /// How many packets are dropped at most by whoever has something else to do.
    static let mostDropped = 64

    /// Drops so many packets, up to one that brings descriptors. Returns whether nothing is left.
    borrowing func dropPackets() -> Bool {
        var scrap = [UInt8](repeating: 0, count: 1)
        var hasFailed = false
        for _ in 0..<Self.mostDropped {
            guard mayBringDescriptors else {
                guard case .packet? = try? receive(into: &scrap) else { return true }
                continue
            }
            switch try? look(into: &scrap) {
            case .packet(let packet)?:
                guard packet.descriptors_cut == 0, ck_drop_packet(descriptor.number) >= 0 else { return false }
            case .end?: return true
            case .wouldBlock?: return false
            // For example, that the peer reset the connection. It is told once.
            case nil:
                guard !hasFailed else { return false }
                hasFailed = true
            }
        }
        return false
    }
}
