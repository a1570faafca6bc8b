// Receives a packet with the descriptors that come with it: at a client, and from the process that opens keys.
//
// Must never lose a descriptor: each one is handed on or closed. Must never treat a packet as complete if it was cut,
// or if the kernel did not deliver one of its descriptors.

internal import CKernel
internal import Glibc

extension SeqpacketSocket {
    /// What a client received: the bytes of a packet, and its descriptors in their order.
    package struct Delivery: ~Copyable {
        package let packet: [UInt8]
        package var first: Descriptor?
        package var second: Descriptor?
        /// The number of descriptors that came. Those after the second are closed already.
        package let descriptorCount: Int
        /// The kernel did not deliver a descriptor: this process has reached its limit, or a security module forbids
        /// it.
        package let isMissingDescriptors: Bool
        package let isCut: Bool
        /// The pid of the sender as seen from here, after ``wantSenders()``. Nil if it is not visible from here.
        package let sender: Int32?
    }

    /// From now on, each packet says which process sent it. That must never decide anything about a caller: the daemon asks
    /// the kernel for the peer of a connection. Calls `setsockopt(SO_PASSCRED)`.
    package borrowing func wantSenders() throws(Failure) {
        _ = try succeed(ck_want_senders(descriptor.number), "setsockopt SO_PASSCRED")
    }

    /// As many as the kernel lets come with one packet (`SCM_MAX_FD`).
    private static let mostDescriptors = 253

    /// What came with a packet that was received into a buffer. All but the length is as in ``Delivery``.
    package struct Arrival: ~Copyable {
        /// The length of the packet as it was sent. 0 also means the end of the connection.
        package let length: Int
        package var first: Descriptor?
        package var second: Descriptor?
        package let descriptorCount: Int
        package let isMissingDescriptors: Bool
        package let isCut: Bool
        package let sender: Int32?
    }

    /// Receives a packet of at most `limit` bytes with its descriptors. Nil if no packet is there yet.
    package borrowing func receiveDelivery(limit: Int) throws(Failure) -> Delivery? {
        var buffer = [UInt8](repeating: 0, count: limit)
        guard var arrival = try receiveArrival(into: &buffer) else { return nil }
        buffer.removeSubrange(min(arrival.length, limit)...)
        return Delivery(
            packet: buffer, first: arrival.first.take(), second: arrival.second.take(),
            descriptorCount: arrival.descriptorCount, isMissingDescriptors: arrival.isMissingDescriptors,
            isCut: arrival.isCut, sender: arrival.sender)
    }

    /// Receives a packet into the buffer, whose size does not change. Nil if no packet is there yet.
    /// - Parameters:
    ///   - closer: closes the descriptors after the second one. Without it they are closed here.
    ///   - account: for whom it counts them.
    package borrowing func receiveArrival(
        into buffer: inout [UInt8], closingBy closer: Closer? = nil, of account: UInt32 = 0
    ) throws(Failure) -> Arrival? {
        var numbers = [Int32](repeating: -1, count: closer == nil ? 2 : Self.mostDescriptors)
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
        // They have an owner from here on, so that every return closes them.
        let first = received.descriptor_count > 0 ? Descriptor(taking: numbers[0]) : nil
        let second = received.descriptor_count > 1 ? Descriptor(taking: numbers[1]) : nil
        if let closer, received.descriptor_count > 2 {
            for number in numbers[2..<received.descriptor_count] {
                closer.close(Descriptor(taking: number), of: account)
            }
        }
        return Arrival(
            length: received.length, first: first, second: second,
            descriptorCount: received.descriptor_count + Int(received.excess_descriptors),
            isMissingDescriptors: received.descriptors_cut != 0, isCut: received.bytes_cut != 0,
            sender: received.sender > 0 ? received.sender : nil)
    }
}
