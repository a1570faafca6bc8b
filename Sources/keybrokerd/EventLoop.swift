// The event loop. One turn collects the decisions on everything that is ready, commits their records, and then sends.
//
// There is one thread. A request goes forward through this file: accept, attend, deliver, send. Must never block on a
// client, answer one before its record is in the log, or end because of anything that a client did.

internal import Broker
internal import Kernel
internal import Keys
internal import SignerControl
internal import Wire

final class EventLoop {
    let listener: Listener
    private let signals: Signals
    private let watch: ChangeWatch?
    let opener: OpenerProcess
    let signer: SignerProcess?
    /// False after the end of the signer was noticed.
    var hasSigner: Bool
    /// False after the end of the opener was noticed.
    var hasOpener = true
    let broker: Broker
    let poller: Poller
    let reloads: Reloads
    let manager: ServiceManager
    let logger: Logger
    let capacity: Capacity
    let connections: ConnectionTable
    /// Closes what would keep the loop. Nil if there can be no thread for that.
    let closer: Closer?

    /// Whether the connections that are accepted now may bring descriptors.
    var expectsDescriptors: Bool
    var lastNumber: UInt64 = Token.firstConnection
    private var turnNumber: UInt64 = 0
    private var buffer = [UInt8](repeating: 0, count: Limits.packetBytes)
    private(set) var isStopping = false
    private(set) var turnBegan = Instant.now
    var credentials: CredentialServer?, nextSignOfLife: Instant?
    /// When to accept connections again, or nil while they are accepted.
    var acceptAgain: Instant?
    /// When to look again whether the audit log was rotated.
    var lookAtLog = Instant.boot
    var acceptTrouble: RateLimited, peerTrouble: RateLimited, sendTrouble: RateLimited, logTrouble: RateLimited

    /// The numbers by which the poller knows the daemon's own file descriptors.
    enum Token {
        static let listener: UInt64 = 0, signals: UInt64 = 1, changes: UInt64 = 2, opener: UInt64 = 3,
            reload: UInt64 = 4, signer: UInt64 = 5, firstConnection: UInt64 = 16
    }

    /// The answers of a turn, in the order in which they are sent.
    typealias Turn = [(connection: Connection, answer: Answer)]

    init(
        _ listener: consuming Listener, signals: consuming Signals, watch: ChangeWatch?, opener: OpenerProcess,
        signer: SignerProcess?, broker: Broker, poller: Poller, reloads: Reloads, closer: Closer?,
        manager: ServiceManager, logger: Logger, capacity: Capacity
    ) {
        // Whoever waits already may have connected before the kernel was told to refuse descriptors.
        expectsDescriptors = !listener.refusesDescriptors || listener.socket.hasWaiting
        self.listener = listener
        self.signals = signals
        self.watch = watch
        self.opener = opener
        self.signer = signer
        hasSigner = signer != nil
        self.broker = broker
        self.poller = poller
        self.reloads = reloads
        self.closer = closer
        self.manager = manager
        self.logger = logger
        self.capacity = capacity
        let connections = ConnectionTable(poller, broker)
        self.connections = connections
        broker.noteReadReplies = { connections.noteReadWatches() }
        let trouble = RateLimited(logger)
        (acceptTrouble, peerTrouble, sendTrouble, logTrouble) = (trouble, trouble, trouble, trouble)
        nextSignOfLife = manager.lifeSignInterval.map { Instant.now.after($0) }
    }

    /// Serves until a signal stops the daemon.
    func run() throws(Failure) {
        try poller.watch(listener.socket.descriptor, for: .reading, as: Token.listener)
        try poller.watch(signals.descriptor, for: .reading, as: Token.signals)
        if let watch { try poller.watch(watch.descriptor, for: .reading, as: Token.changes) }
        try opener.register(with: poller, as: Token.opener)
        try signer?.register(with: poller, as: Token.signer)
        try reloads.register(with: poller, as: Token.reload)
        while !isStopping { try turn(wait: untilNextChore()) }
        manager.stopping()
        try drain()
        end()
    }

    // MARK: A turn

    func turn(wait: Duration?) throws(Failure) {
        let events = try poller.wait(atMost: wait)
        turnBegan = .now
        followLog()
        // Changes come first, so that no answer of this turn relies on a path that has changed.
        if events.contains(where: { $0.token == Token.changes || $0.token == Token.opener }) { noteChanges() }

        var turn: Turn = []
        attend(to: events, &turn)
        // Those who are connected come first: they have waited longer.
        if events.contains(where: { $0.token == Token.listener }) { accept(&turn) }
        tellWatchers(&turn)
        if broker.isDueToHearSigner(turnBegan) || events.contains(where: { $0.token == Token.signer }) {
            hearSigner(&turn)
        }
        broker.settle(now: turnBegan)
        deliver(turn)
        credentials?.turn(events, commit: commitEvents)
        // Chores come after the answers, so that a connection that is due to end still gets its reply.
        doChores()
        // Signals come last, so that requests that came before a reload or stop are answered as before it.
        if events.contains(where: { $0.token == Token.signals }) { obeySignals() }
    }

    // MARK: Attend

    /// Answers what the connections sent, in turn by uid: each uid has a few requests, and if there is room in the turn
    /// afterwards, more. The rest waits for the next turn.
    private func attend(to events: [Poller.Event], _ turn: inout Turn) {
        turnNumber += 1
        var others: [(connection: Connection, event: Poller.Event)] = []
        // The poller reports in much the same order each time. If not all can be answered, others come first each time.
        let most = Limits.requestsPerTurn
        let first = events.count > most ? Int(turnNumber * UInt64(most) % UInt64(events.count)) : 0
        for index in events.indices {
            let event = events[(first + index) % events.count]
            guard event.token >= Token.firstConnection, let connection = connections[event.token] else { continue }
            if turn.count < most, connection.client.takeShare(of: turnNumber) {
                attend(to: connection, event, &turn)
            } else {
                others.append((connection, event))
            }
        }
        for (connection, event) in others {
            guard turn.count < most else { return }
            attend(to: connection, event, &turn)
        }
    }

    /// Answers what a connection sent, or does what its state requires.
    func attend(to connection: Connection, _ ready: Poller.Event, _ turn: inout Turn) {
        do throws(Failure) {
            guard ready.isReadable, connection.state.takesPackets else {
                let event: ConnectionEvent = ready.isWritable ? .room : .hangUp
                return try perform(connection.state.step(on: event), on: connection)
            }
            if connection.nextRequest > turnBegan {
                let event: ConnectionEvent = ready.isHungUp ? .hangUp : .earlyPacket
                if event == .earlyPacket, !ready.peerIsDone { broker.noteEarlyRequest(of: connection.client) }
                return try perform(connection.state.step(on: event), on: connection)
            }
            switch try connection.receive(into: &buffer, mayBeEnd: ready.peerIsDone || ready.isHungUp) {
            case .packet(let length, let malformed):
                guard connection.state.step(on: .packet) == .answer else { return }
                connection.noteIfRead()
                let fault =
                    connection.state == .watching ? .whileWatching : connection.owesReading ? .replyUnread : malformed
                answer(fault.map { .malformed($0) } ?? .bytes(buffer[..<length]), on: connection, &turn)
            // If the client only said that it will send no more, it may still want to read its replies.
            case .end:
                try perform(connection.state.step(on: ready.isHungUp ? .hangUp : .endOfRequests), on: connection)
            case .none: return
            }
        } catch {
            // For example, the client reset the connection. That concerns only the client.
            connections.leave(connection)
        }
    }

    private func answer(_ packet: Packet, on connection: Connection, _ turn: inout Turn) {
        connections.lookAtUnread(of: connection.client, turnBegan)
        do throws(Failure) {
            switch try broker.answer(packet, from: connection.client, of: connection.socket, under: load) {
            case .answer(let answer): turn.append((connection, answer))
            case .later(let channel): connections.wait(connection, for: channel)
            }
        } catch {
            peerTrouble.log("a caller's identity could not be read: \(error)")
            connections.leave(connection)
        }
    }

    func perform(_ step: ConnectionStep, on connection: Connection) throws(Failure) {
        switch step {
        case .sendNames: try connections.setListing(try !connection.sendNames(), connection)
        case .leave: connections.leave(connection)
        case .finish:
            connection.socket.takeNoMore()
            connections.leave(connection)
        case .wait: try connections.wait(connection)
        case .answer, .look, .read, .nothing: return
        }
    }

    /// How busy the server is, for a status. A request waits from the turn in which it was read until it is answered.
    private var load: Load {
        let oldest = connections.listsSince.map { min($0, turnBegan) } ?? turnBegan
        return Load(
            connections: connections.count, mostConnections: capacity.total,
            oldestWaiting: oldest.until(.now))
    }

    // MARK: Deliver

    /// Commits the records of a turn, and then sends its answers.
    private func deliver(_ turn: Turn) {
        var recorded = commit(turn)
        let again = send(turn)
        // These are corrections, with replies to clients that are still connected. If sending one fails as well, there
        // is nothing more to correct.
        recorded += commit(again)
        _ = send(again)
        broker.count()
        // Log after replying, so that no client waits for the journal.
        logger.log(recorded)
    }

    /// Commits, and returns the records that are now in the log.
    func commit(_ turn: Turn) -> [Recorded] {
        switch broker.commit(turn.lazy.map { $0.answer }) {
        case .written(let recorded): return recorded
        case .failedAgain: return []
        case .failed(let failure):
            logger.log("the audit log cannot be written: \(failure); nothing is granted until it can", .failure)
            return []
        case .recovered(let recorded, let withdrawn):
            logger.log(
                "the audit log is written again; \(withdrawn) requests were answered as unavailable meanwhile")
            return recorded
        }
    }

    /// Sends the answers. Returns the answers that replace grants that could not be sent.
    private func send(_ turn: Turn) -> Turn {
        var again: Turn = []
        for (connection, answer) in turn {
            do throws(Failure) {
                try send(answer, to: connection)
                if answer.isLast || connection.endsAfterReply {
                    try perform(connection.state.step(on: .lastAnswer), on: connection)
                }
            } catch {
                // It is no fault if a client has gone. Its grant gets a correction: it was not delivered.
                if error.code != Failure.brokenPipe, error.code != Failure.connectionReset {
                    sendTrouble.log("a reply to uid \(connection.client.uid) could not be sent: \(error)")
                }
                let instead = broker.undelivered(answer, to: connection.client, error)
                if let watch = answer.watch, watch.hasBegun, error.isShortage {
                    broker.postpone(watch)
                } else if let instead {
                    again.append((connection, instead))
                } else {
                    connections.leave(connection)
                }
            }
        }
        return again
    }

    private func send(_ answer: Answer, to connection: Connection) throws(Failure) {
        // The connection was drained or closed earlier in this turn.
        guard connection.state.takesPackets else { throw Failure("sendmsg", code: Failure.brokenPipe) }
        if case .names = answer.reply {
            connection.begin(answer.names)
            return try connections.setListing(try !connection.sendNames(), connection)
        }
        if answer.isEmptyRenewal, let watch = answer.watch { return broker.postpone(watch) }
        try connection.send(answer)
        if case .rotated(_, let generation) = answer.reply, let watch = answer.watch {
            if !watch.hasBegun { connection.begin(watch) }
            broker.noteTold(watch, generation, on: connection.number)
        }
    }

    // MARK: Signals

    private func obeySignals() {
        while let signal = signals.next() {
            switch signal {
            case .stop: isStopping = true
            case .reload(let uid, let pid):
                reload(askedBy: uid, pid: pid)
            }
        }
    }
}
