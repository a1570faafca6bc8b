// One client's connection, from accept to close.
//
// Must never be closed while a descriptor that was sent on it is unread: the kernel counts those against
// the sender, and a client that hoards them would use up everybody's.

internal import Broker
internal import Kernel
internal import Wire

final class Connection {
    /// What the poller knows it by; never used again.
    let number: UInt64
    let socket: SeqpacketSocket
    let client: Client
    /// Whether the broker counts it; not where the caller was turned away.
    let isAdmitted: Bool
    /// When it ends if nothing comes.
    var expiry: Instant
    /// Names that are still to be sent.
    private var names: ArraySlice<KeyName>?
    /// When it began to be told names; nil where it has them all.
    private(set) var listsSince: Instant?
    /// The poller waits until it can be written to.
    var isWaitingToSend = false
    /// A packet came on it.
    private(set) var hasAsked = false
    /// It gets no more answers, and ends as soon as the client has read what it got.
    var isMuted = false
    /// A reply with descriptors was sent, and is not known to have been read.
    private var owesReading = false

    init(number: UInt64, socket: consuming SeqpacketSocket, client: Client, isAdmitted: Bool) {
        self.number = number
        self.socket = socket
        self.client = client
        self.isAdmitted = isAdmitted
        expiry = Instant.now.after(milliseconds: Limits.idleMilliseconds)
    }

    /// The packet that waits, as far as it can be one; nil where there is none.
    /// - Parameter mayBeEnd: the peer will send no more, so that nothing is the end, not an empty packet.
    func packet(into buffer: inout [UInt8], mayBeEnd: Bool) throws(Failure) -> Incoming {
        switch try socket.receive(into: &buffer) {
        case .wouldBlock: return .none
        case .nothing: return mayBeEnd ? .end : .packet(.malformed(.empty))
        case .packet(let length, let isCut, let broughtDescriptors):
            hasAsked = true
            expiry = Instant.now.after(milliseconds: Limits.idleMilliseconds)
            if try hasUnreadDescriptors() { return .packet(.malformed(.replyUnread)) }
            if broughtDescriptors { return .packet(.malformed(.broughtDescriptors)) }
            if isCut { return .packet(.malformed(.tooLong)) }
            return .packet(.bytes(buffer[..<length]))
        }
    }

    enum Incoming {
        case packet(Packet)
        case none
        case end
    }

    /// Sends the answer.
    func send(_ answer: Answer) throws(Failure) {
        try socket.send(answer.reply.packet, with: answer.key, and: answer.certificate)
        if answer.carriesDescriptors { owesReading = true }
        expiry = Instant.now.after(milliseconds: Limits.idleMilliseconds)
    }

    /// From now on there are names to send.
    func begin(_ names: ArraySlice<KeyName>) {
        self.names = names
        listsSince = .now
    }

    /// Sends as many packets of names as the client has room for. True when the last of them, which is
    /// empty, has gone.
    func sendNames() throws(Failure) -> Bool {
        while let names {
            var rest = names
            let packet = Reply.nextPacket(of: &rest).packet
            do throws(Failure) { try socket.send(packet) } catch {
                if error.code == Failure.wouldBlock { return false }
                throw error
            }
            self.names = names.isEmpty ? nil : rest
            expiry = Instant.now.after(milliseconds: Limits.idleMilliseconds)
        }
        listsSince = nil
        return true
    }

    /// Asks the kernel only where there is something to ask.
    func hasUnreadDescriptors() throws(Failure) -> Bool {
        if owesReading { owesReading = try !socket.peerHasReadAll() }
        return owesReading
    }
}
