// A packet as a client receives it: with the descriptors that come with it.
//
// Must never lose a descriptor: whatever came is handed on or closed. Must never take a packet that was cut, or from which
// the kernel withheld a descriptor, for a whole one.

internal import CKernel
package import Kernel

extension SeqpacketSocket {
    /// What a client received: a packet's text and the descriptors that came with it, in order.
    package struct Delivery: ~Copyable {
        package let packet: [UInt8]
        package var first: Descriptor?
        package var second: Descriptor?
        /// How many descriptors came in all; those past the second are closed.
        package let descriptorCount: Int
        /// The kernel withheld a descriptor: the receiver's table is full, or a security module forbade it.
        package let isMissingDescriptors: Bool
        package let isCut: Bool
        /// The process that sent it as seen from here, after ``wantSenders()``; nil where it is not seen.
        package let sender: Int32?
    }

    /// From now on packets say which process sent them. Calls `setsockopt(SO_PASSCRED)`.
    package borrowing func wantSenders() throws(Failure) {
        _ = try succeed(ck_want_senders(descriptor.withNumber { $0 }), "setsockopt SO_PASSCRED")
    }

    /// Receives a packet with its descriptors, at most `limit` bytes. Nil where nothing has come yet.
    package borrowing func receiveDelivery(limit: Int) throws(Failure) -> Delivery? {
        var buffer = [UInt8](repeating: 0, count: limit)
        var numbers: [Int32] = [-1, -1]
        var received = ck_received()
        let socket = descriptor.withNumber { $0 }
        // Safety: the call writes at most as many bytes and descriptors as it is told there is room for.
        let result = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe numbers.withUnsafeMutableBufferPointer { numbers in
                unsafe ck_receive(
                    socket, bytes.baseAddress, bytes.count, numbers.baseAddress, numbers.count, &received)
            }
        }
        if result == -Failure.wouldBlock { return nil }
        _ = try succeed(result, "recvmsg")
        // Owned from here on, so that every way out closes them.
        let first = received.descriptor_count > 0 ? Descriptor(taking: numbers[0]) : nil
        let second = received.descriptor_count > 1 ? Descriptor(taking: numbers[1]) : nil
        buffer.removeSubrange(min(received.length, limit)...)
        return Delivery(
            packet: buffer, first: first, second: second,
            descriptorCount: received.descriptor_count + Int(received.excess_descriptors),
            isMissingDescriptors: received.descriptors_cut != 0, isCut: received.bytes_cut != 0,
            sender: received.sender > 0 ? received.sender : nil)
    }
}
