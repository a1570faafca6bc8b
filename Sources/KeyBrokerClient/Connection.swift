// One connection to the broker, from the checks before it to the reply.
//
// Must never believe a socket for its path alone, nor a reply whose descriptors are not exactly those
// that it announces.

internal import Kernel
internal import Wire
internal import ClientKernel

/// A connection to what was checked to be the broker.
struct Connection: ~Copyable {
    private let socket: SeqpacketSocket
    private let path: String

    /// Connects, after the checks that need no connection, and checks who answered.
    init(to path: String) throws(KeyBrokerError) {
        let caller = Privileges.effectiveUID
        // A directory that others may write to lets them put a socket of their own there.
        do { try TrustedOwners(startedBy: caller).checkDirectories(above: path) } catch {
            switch error.kind {
            case .missing: throw .notRunning(socket: path, reason: error.description)
            case .unreadable: throw .mayNotConnect(socket: path)
            case .shortage: throw .shortage(error.description)
            case .untrusted, .outside: throw .untrusted(socket: path, reason: error.description)
            }
        }
        let socket = try calling(try Self.connected(to: path)) { failure in
            switch failure.code {
            // There is a broker, and it did not come to it.
            case Failure.wouldBlock: .noAnswer(socket: path, after: Limits.reply)
            case Failure.notFound, Failure.connectionRefused: .notRunning(socket: path, reason: failure.reason)
            case Failure.permissionDenied: .mayNotConnect(socket: path)
            default: KeyBrokerError(failure)
            }
        }
        // Where the directory is sticky, as /tmp, anybody can be the one who listens.
        let listener = try calling(try socket.peerCredentials().uid)
        guard listener == 0 || listener == caller else {
            throw .untrusted(socket: path, reason: "uid \(listener) listens there, neither root nor this account")
        }
        self.socket = socket
        self.path = path
    }

    /// Connects, and waits where so many callers wait already that the socket takes no more: as long as for
    /// a reply, as there is a broker. The kernel has no way to wait for that on a non-blocking socket.
    private static func connected(to path: String) throws(Failure) -> SeqpacketSocket {
        let end = Instant.now.after(Limits.reply)
        while true {
            do { return try SeqpacketSocket.connected(to: path) } catch {
                let now = Instant.now
                guard error.code == Failure.wouldBlock, now < end else { throw error }
                _ = try pause(until: min(now.after(.milliseconds(10)), end))
            }
        }
    }

    /// From now on, answers say which process sent them.
    borrowing func wantSenders() throws(KeyBrokerError) {
        try calling(try socket.wantSenders())
    }

    /// Sends the request and returns the reply to it.
    /// - Parameter end: when the whole answer must have come; nil: as `patience` has it, from now.
    borrowing func answer(
        to request: Request, _ patience: Deadline, by end: Instant? = nil
    ) throws(KeyBrokerError) -> ReceivedReply {
        do throws(Failure) { try socket.send(request.packet) } catch {
            // A broker that is busy says so and closes before it is asked: the reply is still there to read.
            guard error.code == Failure.brokenPipe else { throw KeyBrokerError(error) }
        }
        return try nextAnswer(patience, by: end ?? patience.answerEnd)
    }

    /// The next reply, which must come before `end`.
    borrowing func nextAnswer(_ patience: Deadline, by end: Instant) throws(KeyBrokerError) -> ReceivedReply {
        while true {
            try patience.waitForReply(socket, by: end, path: path)
            let delivery = try calling(try socket.receiveDelivery(limit: Limits.packetBytes)) { failure in
                failure.code == Failure.connectionReset ? .withoutAnswer(path) : KeyBrokerError(failure)
            }
            guard let delivery else { continue }
            guard !delivery.packet.isEmpty else { throw .withoutAnswer(path) }
            return try ReceivedReply(delivery)
        }
    }
}

/// A reply with its descriptors, of which there are exactly as many as it announces.
struct ReceivedReply: ~Copyable {
    let reply: Reply
    /// The process that sent it, where that was asked for.
    let sender: Int32?
    private var key: Descriptor?
    private var certificate: Descriptor?

    init(_ delivery: consuming SeqpacketSocket.Delivery) throws(KeyBrokerError) {
        // A descriptor was withheld: this process may have no more, or a security module forbids it.
        guard !delivery.isMissingDescriptors else {
            throw .protocolViolation(
                "the kernel withheld a descriptor: this process has too many open (RLIMIT_NOFILE), "
                    + "or a security module such as SELinux forbids the transfer")
        }
        guard !delivery.isCut, let reply = try? Reply(delivery.packet) else {
            throw .protocolViolation("the reply is malformed")
        }
        let expected =
            switch reply {
            case .granted: 1...2
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

    /// What the reply means to a caller who did not get what it asked for.
    func error(asking key: String?) -> KeyBrokerError {
        switch reply {
        case .denied(let decision): .denied(key: key ?? "", decision: decision)
        case .unavailable(let decision, let reason): .unavailable(key: key ?? "", decision: decision, reason: reason)
        case .busy(let decision, let milliseconds):
            .busy(decision: decision, retryAfter: .milliseconds(milliseconds))
        case .malformed(let decision, let reason):
            .protocolViolation("the broker did not understand the request: \(reason) (decision \(decision))")
        case .granted, .names, .version, .status: .protocolViolation("the reply is to another request")
        }
    }
}
