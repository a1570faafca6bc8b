// A SOCK_SEQPACKET Unix socket that listens, was accepted, or is connected. Each call sends or receives one packet.
//
// Must never block. Must never keep a descriptor that a peer sent without being asked. A SEQPACKET send takes the whole
// packet or fails, so there is no queue of unsent bytes.

internal import CKernel
internal import Glibc

/// A Unix socket of type `SOCK_SEQPACKET`, non-blocking and close-on-exec.
package struct SeqpacketSocket: ~Copyable, Sendable {
    package private(set) var descriptor: Descriptor
    /// Whether its packets may bring descriptors that must not be dropped here. See ``expectDescriptors()``.
    package internal(set) var mayBringDescriptors = false

    init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }

    /// Takes over one end of a `socketpair(2)`. It need not be non-blocking, because every call here is.
    package init(connected descriptor: consuming Descriptor) { self.descriptor = descriptor }

    /// The two ends of a connection without a name.
    package struct Pair: ~Copyable {
        package var first, second: SeqpacketSocket?
    }

    /// Calls `socketpair(2)`.
    package static func pair() throws(Failure) -> Pair {
        var numbers: [Int32] = [-1, -1]
        // Safety: the call fills the two numbers that the array holds.
        _ = try unsafe succeed(ck_socket_pair(&numbers), "socketpair")
        return Pair(
            first: SeqpacketSocket(Descriptor(taking: numbers[0])),
            second: SeqpacketSocket(Descriptor(taking: numbers[1])))
    }

    /// Whether the kernel says that a descriptor that somebody else sent is a socket of this type that does not listen.
    /// Calls `getsockopt(2)`.
    package static func isEnd(_ descriptor: borrowing Descriptor) -> Bool {
        ck_is_seqpacket_end(descriptor.number) == 1
    }

    /// Takes the descriptor out. The caller then owns it.
    package consuming func intoDescriptor() -> Descriptor { descriptor }

    /// Takes the socket out of its place, which has none from then on. For a `deinit`, which cannot give away what is there.
    package mutating func take() -> SeqpacketSocket {
        var socket = SeqpacketSocket(descriptor.take())
        socket.mayBringDescriptors = mayBringDescriptors
        return socket
    }

    // MARK: Listening

    /// Binds a new socket to `path`. Nobody can connect before `listen()`, so owner and mode can be set in between.
    /// Calls `socket(2)` and `bind(2)`. Fails with `EADDRINUSE` if the path exists.
    package static func bound(to path: String) throws(Failure) -> SeqpacketSocket {
        let socket = try Descriptor.opened(ck_seqpacket_socket(), by: "socket")
        _ = try succeed(PathCall.bind(socket.number)(path), "bind", on: path)
        return SeqpacketSocket(socket)
    }

    /// Takes over a socket from the service manager, after the kernel confirmed that it is a listener. Else `ENOTSOCK`.
    package static func adopted(_ descriptor: consuming Descriptor) throws(Failure) -> SeqpacketSocket {
        guard ck_is_seqpacket_listener(descriptor.number) == 1 else {
            throw Failure("getsockopt", code: ENOTSOCK, on: "the descriptor from the service manager")
        }
        _ = try succeed(ck_adopt(descriptor.number), "fcntl")
        return SeqpacketSocket(descriptor)
    }

    /// Calls `listen(2)`.
    package borrowing func listen(backlog: Int) throws(Failure) {
        let number = descriptor.number
        _ = try retrying("listen") { Glibc.listen(number, Int32(clamping: backlog)) }
    }

    /// Refuses connections from now on, also those that wait. Calls `shutdown(2)`.
    package borrowing func listenNoMore() { _ = shutdown(descriptor.number, Int32(SHUT_RDWR)) }

    /// Makes the kernel refuse descriptors that peers send on this socket, and on those accepted from now on
    /// (`SO_PASSRIGHTS`, Linux 6.16). Returns false if the kernel is older: see ``expectDescriptors()``.
    package borrowing func refuseDescriptors() -> Bool {
        ck_refuse_descriptors(descriptor.number) >= 0
    }

    /// The next connection, or nil if none waits. Calls `accept4(2)`.
    package borrowing func accept() throws(Failure) -> SeqpacketSocket? {
        let accepted = try descriptor.acceptConnection()
        switch consume accepted {
        case .some(let socket): return SeqpacketSocket(socket)
        case .none: return nil
        }
    }

    // MARK: Connecting

    /// Connects to the socket at `path`. Calls `socket(2)` and `connect(2)`. Does not wait: fails with
    /// ``Failure/wouldBlock`` if the listener's backlog is full.
    package static func connected(to path: String) throws(Failure) -> SeqpacketSocket {
        let socket = try Descriptor.opened(ck_seqpacket_socket(), by: "socket")
        _ = try succeed(PathCall.connect(socket.number)(path), "connect", on: path)
        return SeqpacketSocket(socket)
    }

    /// Connects to the socket at `path`, and waits in the kernel if the listener's queue is full: in the order in which
    /// callers came, so nobody has to try again and again. Calls `socket(2)`, `setsockopt(SO_SNDTIMEO)`, `connect(2)`.
    /// Fails with ``Failure/wouldBlock`` if there is no room until `end`.
    package static func connected(to path: String, until end: Instant) throws(Failure) -> SeqpacketSocket {
        let socket = try Descriptor.opened(ck_seqpacket_socket(), by: "socket")
        while true {
            let left = Int32(clamping: max(1, Instant.now.until(end).wholeMilliseconds))
            let result = PathCall.connectWithin(socket.number, milliseconds: left)(path)
            if result == -EINTR { continue }
            _ = try succeed(result, "connect", on: path)
            return SeqpacketSocket(socket)
        }
    }

    // MARK: Packets

    /// The result of one `recvmsg(2)`.
    package enum Received: ~Copyable {
        /// A packet of `length` bytes as it was sent. `isCut`: the buffer was shorter. `broughtDescriptors`: the peer
        /// sent descriptors, and none of them is open here.
        case packet(length: Int, isCut: Bool, broughtDescriptors: Bool)
        /// An empty packet or the end of the connection. The kernel reports both in the same way.
        case nothing
        /// No packet is there yet.
        case wouldBlock
    }

    /// Receives a packet. Descriptors that come with it are dropped, or stay in the queue with the packet after
    /// ``expectDescriptors()``.
    package borrowing func receive(into buffer: inout [UInt8]) throws(Failure) -> Received {
        if mayBringDescriptors { return try receiveLeavingDescriptors(into: &buffer) }
        var received = ck_received()
        let number = descriptor.number
        // Safety: the call writes at most `count` bytes to the array's own storage, and fills one struct.
        let result = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe ck_receive(number, bytes.baseAddress, bytes.count, nil, 0, &received)
        }
        if result == -EAGAIN { return .wouldBlock }
        _ = try succeed(result, "recvmsg")
        guard received.length > 0 else { return .nothing }
        return .packet(
            length: received.length, isCut: received.bytes_cut != 0,
            broughtDescriptors: received.descriptors_cut != 0)
    }

    /// Sends one packet with up to two descriptors. Calls `sendmsg(2)`. Fails with ``Failure/wouldBlock`` if the peer
    /// has not read enough of what was sent before.
    package borrowing func send(
        _ packet: [UInt8], with first: borrowing Descriptor? = nil, and second: borrowing Descriptor? = nil
    ) throws(Failure) {
        var numbers = InlineArray<2, Int32>(repeating: -1)
        var count = 0
        if let number = Self.number(of: first) { (numbers[count], count) = (number, count + 1) }
        if let number = Self.number(of: second) { (numbers[count], count) = (number, count + 1) }
        try send(packet, numbers, count)
    }

    /// Sends one packet with a descriptor of another socket, so that the receiver can send on that in this one's place.
    package borrowing func send(
        _ packet: [UInt8], withCopyOf other: borrowing SeqpacketSocket
    ) throws(Failure) { try send(packet, withCopyOf: other.descriptor) }

    /// Sends one packet with a descriptor, whatever it is.
    borrowing func send(_ packet: [UInt8], withCopyOf other: borrowing Descriptor) throws(Failure) {
        try send(packet, [other.number, -1], 1)
    }

    private borrowing func send(
        _ packet: [UInt8], _ numbers: borrowing InlineArray<2, Int32>, _ count: Int
    ) throws(Failure) {
        let socket = descriptor.number
        let sent = numbers.span.extracting(first: count)
        // Safety: the call reads as many bytes and descriptors as the array and the span say they hold.
        let result = unsafe packet.withUnsafeBytes { bytes in
            unsafe sent.withUnsafeBufferPointer { numbers in
                unsafe ck_send(socket, bytes.baseAddress, bytes.count, numbers.baseAddress, numbers.count)
            }
        }
        _ = try succeed(result, "sendmsg")
    }

    private static func number(of descriptor: borrowing Descriptor?) -> Int32? {
        switch descriptor {
        case .some(let descriptor): descriptor.number
        case .none: nil
        }
    }

    /// Whether the peer has gone, or has said that it sends no more. Calls `poll(2)`, which does not wait.
    package var peerSendsNoMore: Bool { isReady(ck_peer_done) }

    /// Whether a connection waits to be accepted. Calls `poll(2)`, which does not wait.
    package var hasWaiting: Bool { isReady(ck_readable) }

    private func isReady(_ events: Int) -> Bool {
        var polled = pollfd(fd: descriptor.number, events: Int16(events), revents: 0)
        // Safety: poll changes the one struct.
        return unsafe poll(&polled, 1, 0) > 0
    }

    /// Whether the peer has read everything that was sent. Calls `ioctl(SIOCOUTQ)`.
    package borrowing func peerHasReadAll() throws(Failure) -> Bool {
        try succeed(ck_unread_by_peer(descriptor.number), "ioctl SIOCOUTQ") == 0
    }

    /// Prepares the connection for closing so that the peer can still read the last reply. If packets were left unread
    /// here, closing would reset the connection. Calls `shutdown(2)` for reading, and drops what waits, but not whatever
    /// the peer has sent: a queue can hold ten thousand packets.
    package borrowing func takeNoMore() {
        _ = shutdown(descriptor.number, Int32(SHUT_RD))
        _ = dropPackets()
    }
}
