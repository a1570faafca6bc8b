// One connection to the broker: the checks before it, the request and the reply.
//
// Must never trust a socket only because of its path. Must never accept a reply that comes with more or fewer
// descriptors than it announces.

internal import Kernel
internal import Wire
internal import ClientKernel

/// A connection to a process that was checked to be the broker.
struct Connection: ~Copyable {
    private let socket: SeqpacketSocket
    private let path: String

    /// Makes the checks that need no connection, connects, and checks who accepted.
    /// - Parameters:
    ///   - end: until when to wait if the listener's backlog is full. Nil: not at all.
    ///   - wakeUp: cancels that wait.
    init(
        to path: String, waitingUntil end: Instant? = Instant.now.after(Limits.reply),
        calledOffBy wakeUp: WakeUp? = nil
    ) throws(KeyBrokerError) {
        let caller = Privileges.effectiveUID
        // Anybody who may write to the directory could put a socket of their own there.
        let owners = TrustedOwners(startedBy: caller)
        do { try owners.checkDirectories(above: path) } catch {
            switch error.kind {
            case .missing: throw .notRunning(socket: path, reason: error.description)
            case .unreadable: throw .mayNotConnect(socket: path)
            case .shortage: throw .shortage(error.description)
            case .untrusted, .outside, .elsewhere, .late, .oversized:
                throw .untrusted(socket: path, reason: error.description)
            }
        }
        let socket = try Self.connected(to: path, waitingUntil: end, calledOffBy: wakeUp)
        // In a sticky directory such as /tmp, anybody can create the socket.
        let listener = try calling(try socket.peerCredentials().uid)
        guard owners.contains(listener) else {
            throw .untrusted(socket: path, reason: "uid \(listener) listens there, neither root nor this account")
        }
        self.socket = socket
        self.path = path
    }

    /// Connects. If the listener's backlog is full, it waits for room as long as it would wait for a reply, because the
    /// broker exists.
    private static func connected(
        to path: String, waitingUntil end: Instant?, calledOffBy wakeUp: WakeUp?
    ) throws(KeyBrokerError) -> SeqpacketSocket {
        guard let end else { return try naming(path, try SeqpacketSocket.connected(to: path)) }
        guard let wakeUp else { return try naming(path, try SeqpacketSocket.connected(to: path, until: end)) }
        while true {
            guard try calling(try Kernel.pause(until: .boot, orCalledOffBy: wakeUp)) == .timedOut
            else { throw .cancelled }
            // Nobody can end the kernel's wait from another thread, so it is a short one.
            let slice = min(end, Instant.now.after(Deadline.longestPause))
            do throws(KeyBrokerError) {
                return try naming(path, try SeqpacketSocket.connected(to: path, until: slice))
            } catch {
                guard case .noAnswer = error, slice < end else { throw error }
            }
        }
    }

    /// Calls a function that connects. Its failure becomes what it means to the caller.
    private static func naming(
        _ path: String, _ connect: @autoclosure () throws(Failure) -> SeqpacketSocket
    ) throws(KeyBrokerError) -> SeqpacketSocket {
        try calling(try connect()) { failure in
            switch failure.code {
            // The broker exists but did not get to this connection.
            case Failure.wouldBlock: .noAnswer(socket: path, after: Limits.reply)
            case Failure.notFound, Failure.connectionRefused: .notRunning(socket: path, reason: failure.reason)
            case Failure.permissionDenied: .mayNotConnect(socket: path)
            default: KeyBrokerError(failure)
            }
        }
    }

    /// From now on, each answer says which process sent it.
    borrowing func wantSenders() throws(KeyBrokerError) {
        try calling(try socket.wantSenders())
    }

    /// Sends a request whose reply is received later.
    borrowing func send(_ request: Request) throws(KeyBrokerError) {
        do throws(Failure) { try socket.send(request.packet) } catch {
            // A busy broker sends its reply and closes without reading the request. The reply can still be read.
            guard error.code == Failure.brokenPipe else { throw KeyBrokerError(error) }
        }
    }

    /// Sends the request and returns its reply.
    /// - Parameter end: when the whole answer must have arrived. Nil: the limit that `patience` sets, counted from now.
    borrowing func answer(
        to request: Request, _ patience: Deadline, by end: Instant? = nil
    ) throws(KeyBrokerError) -> ReceivedReply {
        try send(request)
        return try nextAnswer(patience, by: end ?? patience.answerEnd)
    }

    /// The next reply, which must arrive before `end`.
    borrowing func nextAnswer(_ patience: Deadline, by end: Instant) throws(KeyBrokerError) -> ReceivedReply {
        while true {
            try patience.waitForReply(socket, by: end, path: path)
            if let reply = try received() { return reply }
        }
    }

    /// The reply that has arrived, or nil if none has.
    borrowing func received() throws(KeyBrokerError) -> ReceivedReply? {
        let delivery = try calling(try socket.receiveDelivery(limit: Limits.packetBytes)) { failure in
            failure.code == Failure.connectionReset ? .withoutAnswer(path) : KeyBrokerError(failure)
        }
        guard let delivery else { return nil }
        guard !delivery.packet.isEmpty else { throw .withoutAnswer(path) }
        return try ReceivedReply(delivery)
    }

    /// Passes the number of the socket to `body`, to wait for it.
    borrowing func withNumber<R, E: Error>(_ body: (Int32) throws(E) -> R) throws(E) -> R {
        try socket.descriptor.withNumber(body)
    }

    /// Has the poller report replies.
    borrowing func register(with poller: Poller, as token: UInt64) throws(Failure) {
        try poller.watch(socket.descriptor, for: .reading, as: token)
    }

    /// Waits until a reply has arrived, until `end`, or until `wakeUp` is signalled.
    borrowing func wait(until end: Instant, orCalledOffBy wakeUp: WakeUp?) throws(KeyBrokerError) -> WaitOutcome {
        try calling(try waitUntilReadable(socket.descriptor, until: end, orCalledOffBy: wakeUp))
    }
}

/// A reply with exactly as many descriptors as it announces.
struct ReceivedReply: ~Copyable {
    let reply: Reply
    /// The process that sent the reply. Nil if that was not requested, or if the process is not visible from here.
    let sender: Int32?
    private var key: Descriptor?
    private var certificate: Descriptor?

    init(_ delivery: consuming SeqpacketSocket.Delivery) throws(KeyBrokerError) {
        guard !delivery.isMissingDescriptors else {
            throw .shortage(
                "the kernel withheld a descriptor, as it also does if a security module such as SELinux forbids the transfer"
            )
        }
        guard !delivery.isCut, let reply = try? Reply(delivery.packet) else {
            throw .protocolViolation("the reply is malformed")
        }
        let expected =
            switch reply {
            case .granted, .rotated: 1...2
            default: 0...0
            }
        guard expected.contains(delivery.descriptorCount) else {
            throw .protocolViolation("\(delivery.descriptorCount) descriptors came with the reply")
        }
        self.reply = reply
        sender = delivery.sender
        key = delivery.first.take()
        certificate = delivery.second.take()
    }

    mutating func takeKey() throws(KeyBrokerError) -> Descriptor {
        switch key.take() {
        case .some(let descriptor):
            try Self.check(descriptor)
            return descriptor
        case .none: throw .protocolViolation("no descriptor came with the reply")
        }
    }

    mutating func takeChannel() throws(KeyBrokerError) -> SeqpacketSocket {
        switch key.take() {
        case .some(let descriptor):
            guard SeqpacketSocket.isEnd(descriptor) else {
                throw .protocolViolation("what was handed over is not a channel")
            }
            return SeqpacketSocket(connected: descriptor)
        case .none: throw .protocolViolation("no descriptor came with the reply")
        }
    }

    mutating func takeCertificate() throws(KeyBrokerError) -> Descriptor? {
        switch certificate.take() {
        case .some(let descriptor):
            try Self.check(descriptor)
            return descriptor
        case .none: return nil
        }
    }

    private static func check(_ descriptor: borrowing Descriptor) throws(KeyBrokerError) {
        do throws(Failure) {
            guard try descriptor.status().kind == .regular else {
                throw Failure("recvmsg", code: Failure.notPermitted)
            }
        } catch { throw .protocolViolation("what was handed over is not a regular file") }
    }

    /// The error for a caller that did not get what it asked for.
    func error(asking key: String?) -> KeyBrokerError {
        switch reply {
        case .denied(let decision): .denied(key: key ?? "", decision: decision)
        case .unavailable(let decision, let reason): .unavailable(key: key ?? "", decision: decision, reason: reason)
        case .busy(let decision, let milliseconds):
            .busy(decision: decision, retryAfter: .milliseconds(milliseconds))
        case .malformed(let decision, let reason):
            .protocolViolation("the broker did not understand the request: \(reason) (decision \(decision))")
        case .granted, .rotated, .watchEnded, .names, .version, .status:
            .protocolViolation("the reply is to another request")
        }
    }
}
