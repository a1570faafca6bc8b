// One end of a signing channel: its first packet, a request and the reply to it, and further ends.
//
// Must never take the reply to one request for the reply to another. Must never read from an end that another process reads
// from too. Must never wait without a limit.

internal import Kernel
internal import Wire

/// What the first packet on a channel says.
struct ChannelHello {
    /// SubjectPublicKeyInfo in DER.
    let publicKey: [UInt8]
    /// Those that are known here.
    let schemes: [SignatureScheme]
}

/// An end that this process made or was sent. The signer answers one request on it after the other.
struct ChannelEnd: ~Copyable, Sendable {
    private let socket: SeqpacketSocket
    /// The process that may read from it. A child that was forked has the descriptor too, but would take its parent's
    /// replies.
    private let owner: Int32

    /// The sequence of requests for further ends. Requests for signatures never have it, so that a refusal of the one is
    /// not taken for a refusal of the other.
    static let sequenceOfClones: UInt32 = 0

    init(_ socket: consuming SeqpacketSocket, owner: Int32 = Privileges.processID) {
        self.socket = socket
        self.owner = owner
    }

    /// Whether this process may read from it.
    var isOwn: Bool { owner == Privileges.processID }

    /// What came of a wait for a packet.
    enum Arrival {
        case reply(ChannelReply)
        /// The signer has closed the channel, or has ended.
        case ended
        /// Nothing came in time.
        case late
        /// What came is no packet of a signer.
        case strange
    }

    /// The next packet, which must arrive before `end`. Calls `recvmsg(2)` and `poll(2)`.
    borrowing func next(until end: Instant) throws(Failure) -> Arrival {
        var buffer = [UInt8](repeating: 0, count: ChannelReply.longest)
        while true {
            switch try received(into: &buffer) {
            case .packet(let length, let isCut, let broughtDescriptors):
                guard !isCut, !broughtDescriptors, let reply = try? ChannelReply(Array(buffer.prefix(length))) else {
                    return .strange
                }
                return .reply(reply)
            case .nothing: return .ended
            case .wouldBlock:
                guard try waitUntilReadable(socket.descriptor, until: end) == .ready else { return .late }
            }
        }
    }

    /// An end whose other side closed before it had read everything is reset.
    private borrowing func received(into buffer: inout [UInt8]) throws(Failure) -> SeqpacketSocket.Received {
        do throws(Failure) { return try socket.receive(into: &buffer) } catch {
            guard error.code == Failure.connectionReset else { throw error }
            return .nothing
        }
    }

    /// The reply to a request. Replies to earlier requests, which came too late for those, are passed over.
    borrowing func reply(
        to request: ChannelRequest, sequence: UInt32, until end: Instant
    ) throws(Failure) -> Arrival {
        switch try send(request.packet, nil, until: end) {
        case .sent: break
        case .ended: return .ended
        case .late: return .late
        }
        while Instant.now < end {
            let arrival = try next(until: end)
            guard case .reply(let reply) = arrival else { return arrival }
            // A first packet comes once, and has been read.
            guard let answered = reply.sequence else { return .strange }
            if answered == sequence { return arrival }
        }
        return .late
    }

    /// The first packet, which must arrive before `end`.
    borrowing func hello(of key: String, until end: Instant) throws(KeyBrokerError) -> ChannelHello {
        guard let hello = try helloUnlessEnded(of: key, until: end) else {
            throw .cannotSign(key: key, reason: "the channel ended before it signed; try again")
        }
        return hello
    }

    private borrowing func helloUnlessEnded(
        of key: String, until end: Instant
    ) throws(KeyBrokerError) -> ChannelHello? {
        switch try calling(try next(until: end)) {
        case .reply(.hello(let schemes, let publicKey)):
            // SubjectPublicKeyInfo is a SEQUENCE.
            guard publicKey.first == 0x30 else { break }
            return ChannelHello(publicKey: publicKey, schemes: schemes.compactMap(SignatureScheme.init))
        case .ended: return nil
        case .late: throw .noSignature(key: key, after: Limits.signature)
        case .reply, .strange: break
        }
        throw .protocolViolation("the first packet on the signing channel is malformed")
    }

    /// Has the signer make another end of this channel. Nil if the channel has ended, or if another process owns this end and
    /// the signer makes none in half of the time: the other half is for asking the broker. Calls `socketpair(2)`.
    borrowing func another(of key: String, until limit: Instant) throws(KeyBrokerError) -> ChannelEnd? {
        // What is said on an inherited end is for its owner. The signer drops what has no room there.
        let (isOwn, now) = (isOwn, Instant.now)
        if isOwn { guard try calling(try goesOn(until: limit)) else { return nil } }
        let end = isOwn ? limit : now.after(now.until(limit) / 2)
        do throws(KeyBrokerError) {
            if let made = try made(of: key, until: end) { return made }
        } catch {
            guard !isOwn, case .noSignature = error else { throw error }
            return nil
        }
        // The signer took none.
        guard isOwn, let reason = try calling(try refusalOfAnother()) else { return nil }
        throw .cannotSign(key: key, reason: reason)
    }

    /// Another end, or nil if the signer took none.
    private borrowing func made(of key: String, until end: Instant) throws(KeyBrokerError) -> ChannelEnd? {
        var pair = try calling(try SeqpacketSocket.pair())
        guard let own = pair.first.take(), let theirs = pair.second.take() else { return nil }
        let packet = ChannelRequest.clone(sequence: Self.sequenceOfClones).packet
        let sending: Sending
        // What is sent is closed here at once: otherwise it could not be seen that the signer took none.
        do throws(Failure) { sending = try send(packet, theirs.intoDescriptor(), until: end) } catch {
            throw KeyBrokerError(error)
        }
        switch sending {
        case .sent: break
        case .ended: return nil
        case .late: throw .noSignature(key: key, after: Limits.signature)
        }
        let made = ChannelEnd(own)
        guard try made.helloUnlessEnded(of: key, until: end) != nil else { return nil }
        return made
    }

    /// Takes what has come for nobody: late replies, and refusals to processes that inherited this end. Returns false if the
    /// channel has ended.
    private borrowing func goesOn(until end: Instant) throws(Failure) -> Bool {
        while Instant.now < end {
            switch try next(until: .boot) {
            case .reply, .strange: continue
            case .late: return true
            case .ended: return false
            }
        }
        return true
    }

    /// Why the signer did not make another end, if it said so.
    private borrowing func refusalOfAnother() throws(Failure) -> String? {
        while case .reply(let reply) = try next(until: .boot) {
            if case .malformed(Self.sequenceOfClones, let reason) = reply { return reason }
        }
        return nil
    }

    private enum Sending { case sent, ended, late }

    /// Sends a packet. Waits, at most until `end`, if the signer has not read enough of what was sent before. Calls
    /// `sendmsg(2)`.
    private borrowing func send(
        _ packet: [UInt8], _ descriptor: consuming Descriptor?, until end: Instant
    ) throws(Failure) -> Sending {
        while true {
            do throws(Failure) {
                try socket.send(packet, with: descriptor)
                return .sent
            } catch {
                switch error.code {
                case Failure.brokenPipe, Failure.connectionReset: return .ended
                case Failure.wouldBlock: break
                default: throw error
                }
            }
            guard Instant.now < end else { return .late }
            _ = try Kernel.pause(until: Instant.now.after(Deadline.firstPause))
        }
    }
}
