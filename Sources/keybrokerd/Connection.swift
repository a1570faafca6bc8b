// One client's connection: what it is doing, and what goes in and out of it.
//
// Must never take a second request while a reply with descriptors is unread, nor decide when it ends.

internal import Broker
internal import Kernel
internal import Wire

final class Connection {
    /// What the poller knows it by; never used again.
    let number: UInt64
    let socket: SeqpacketSocket
    let client: Client
    var state = ConnectionState.open
    /// When it ends if no request is granted.
    private(set) var idleAt: Instant
    /// A packet came on it.
    private(set) var hasAsked = false
    /// A reply with descriptors was sent, and is not known to have been read.
    private(set) var owesReading = false
    /// Names that are still to be sent.
    private var names: ArraySlice<KeyName>?
    /// When it began to be told names.
    private(set) var listsSince: Instant?
    /// When it is looked at again while it is draining, and how much later the next time.
    private(set) var nextLook = Instant.boot
    private var lookAfter = Limits.firstLook

    init(number: UInt64, socket: consuming SeqpacketSocket, client: Client) {
        self.number = number
        self.socket = socket
        self.client = client
        idleAt = Instant.now.after(Limits.idle)
    }

    enum Incoming {
        /// So many bytes; or why they cannot be a request.
        case packet(length: Int, Request.Malformed?)
        case none
        case end
    }

    /// The packet that waits.
    /// - Parameter mayBeEnd: the peer will send no more, so that nothing is the end, not an empty packet.
    func receive(into buffer: inout [UInt8], mayBeEnd: Bool) throws(Failure) -> Incoming {
        switch try socket.receive(into: &buffer) {
        case .wouldBlock: return .none
        case .nothing: return mayBeEnd ? .end : .packet(length: 0, .empty)
        case .packet(let length, let isCut, let broughtDescriptors):
            hasAsked = true
            return .packet(length: length, broughtDescriptors ? .broughtDescriptors : isCut ? .tooLong : nil)
        }
    }

    /// Sends the answer.
    func send(_ answer: Answer) throws(Failure) {
        try socket.send(answer.reply.packet, with: answer.key, and: answer.certificate)
        if answer.carriesDescriptors { owesReading = true }
        if answer.isUse { idleAt = Instant.now.after(Limits.idle) }
    }

    /// Whether a reply with descriptors was read meanwhile. Asks the kernel only if there is one.
    func hasBeenRead() throws(Failure) -> Bool {
        guard owesReading, try socket.peerHasReadAll() else { return false }
        owesReading = false
        return true
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
        }
        listsSince = nil
        return true
    }

    /// It will be looked at again: soon at first, then ever less often, as it may last.
    func scheduleLook(_ now: Instant) {
        nextLook = now.after(lookAfter)
        lookAfter = min(lookAfter * 2, Limits.lastLook)
    }
}
