// The connection of one client: its state, and what is received and sent on it.
//
// Must never take a second request while a reply with file descriptors is unread, nor decide when the connection ends.

internal import Broker
internal import Kernel
internal import Keys
internal import Wire

final class Connection {
    /// The number by which the poller knows the connection. It is never used again.
    let number: UInt64
    private(set) var socket: SeqpacketSocket
    /// Closes the socket if that could take long. Nil if there can be no thread for that.
    private let closer: Closer?
    let client: Client
    var state = ConnectionState.open
    /// When the connection ends if no request is granted before.
    private(set) var idleAt: Instant
    /// True once everything that the client sent was received.
    private var hasEnded = false
    /// True once a packet was received.
    private(set) var hasAsked = false
    /// True if a reply with file descriptors was sent and is not known to have been read.
    private(set) var owesReading = false
    /// What counts that reply against a limit of the client's uid.
    private var unread: UnreadReply?
    /// If the connection watches a key: the watch.
    private(set) var watch: Watch?
    /// If the connection waits for a signing channel: the channel.
    var channel: Channel?
    /// True if a packet that brought descriptors is still in the queue: the connection ends after the reply to it.
    private(set) var endsAfterReply = false
    /// The client was told to ask again at this moment, and not before.
    private(set) var nextRequest = Instant.boot
    /// The names that are still to be sent, or nil if no list is being sent.
    private var names: ArraySlice<KeyName>?
    /// When sending the list began, or nil if none is being sent.
    private(set) var listsSince: Instant?
    /// While the connection is draining: when to check it next, and how long to wait after that.
    private(set) var nextLook = Instant.boot
    private var lookAfter = Limits.firstLook

    init(number: UInt64, socket: consuming SeqpacketSocket, client: Client, _ closer: Closer?) {
        self.number = number
        self.socket = socket
        self.client = client
        self.closer = closer
        idleAt = Instant.now.after(Limits.idle)
    }

    deinit { closer?.close(socket.take(), of: client.uid, isEmpty: isEmpty) }

    /// Whether nothing waits in the socket, and nothing can come.
    var isEmpty: Bool { hasEnded && !socket.mayBringDescriptors }

    enum Incoming {
        /// A packet of this many bytes was received. `Malformed` says why it cannot be a request.
        case packet(length: Int, Request.Malformed?)
        case none
        case end
    }

    /// Receives the next packet.
    /// - Parameter mayBeEnd: true if it is known that the peer will send no more. Zero bytes then mean the end, and not an
    ///   empty packet.
    func receive(into buffer: inout [UInt8], mayBeEnd: Bool) throws(Failure) -> Incoming {
        switch try socket.receive(into: &buffer) {
        case .wouldBlock: return .none
        case .nothing:
            hasEnded = mayBeEnd || socket.peerSendsNoMore
            return hasEnded ? .end : .packet(length: 0, .empty)
        case .packet(let length, let isCut, let broughtDescriptors):
            hasAsked = true
            if broughtDescriptors { endsAfterReply = true }
            return .packet(length: length, broughtDescriptors ? .broughtDescriptors : isCut ? .tooLong : nil)
        }
    }

    /// Sends the answer with its file descriptors.
    func send(_ answer: Answer) throws(Failure) {
        // From this moment on: the client cannot know how long sending takes.
        if case .busy(_, let milliseconds) = answer.reply {
            nextRequest = Instant.now.after(.milliseconds(milliseconds))
        }
        if let held = answer.held {
            try held.send(answer.reply.packet, on: socket)
        } else {
            try socket.send(answer.reply.packet, with: answer.key, and: answer.certificate)
        }
        if answer.carriesDescriptors {
            owesReading = true
            unread = answer.takeUnread()
        }
        if answer.isUse { idleAt = Instant.now.after(Limits.idle) }
    }

    /// Checks whether a reply with file descriptors was read since. It asks the kernel only if there is such a reply. If
    /// the kernel cannot be asked, the reply still counts as unread.
    func noteIfRead() {
        guard owesReading, (try? socket.peerHasReadAll()) == true else { return }
        noteRead()
        watch?.noteRead()
    }

    /// Stops counting a reply as unread: it was read, or nobody can read it any more.
    func noteRead() {
        owesReading = false
        unread = nil
    }

    /// The connection watches a key from now on. It stays open however long the key is not rotated.
    func begin(_ watch: Watch) {
        self.watch = watch
        state = .watching
        idleAt = .never
    }

    func takeWatch() -> Watch? {
        defer { watch = nil }
        return watch
    }

    /// Starts to send a list of names.
    func begin(_ names: ArraySlice<KeyName>) {
        self.names = names
        listsSince = .now
    }

    /// Sends as many packets of names as the client has room for. Returns true after the last packet, which is empty.
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

    /// Schedules the next check: soon at first, and then less and less often, because the client may never read.
    func scheduleLook(_ now: Instant) {
        nextLook = now.after(lookAfter)
        lookAfter = min(lookAfter * 2, Limits.lastLook)
    }
}
