// The loop: a turn gathers the decisions of all that is ready, commits their records, then sends.
//
// One thread. Must never block on a client, answer one before its record is in the log, or end because
// of anything that a client did.

internal import Audit
internal import Broker
internal import Kernel
internal import Policy
internal import PolicyLoading
internal import Wire

final class Server {
    private let listening: Listening
    private let signals: Signals
    private let watch: ChangeWatch?
    private let broker: Broker
    private let policyFiles: PolicyFiles
    private let manager: ServiceManager
    private let voice: Voice
    private let maxConnections: Int
    private let poller: Poller

    private var connections: [UInt64: Connection] = [:]
    private var lastNumber: UInt64 = Token.firstConnection
    private var buffer = [UInt8](repeating: 0, count: Limits.packetBytes)
    private var isStopping = false
    private var turnBegan = Instant.now

    private var nextSweep = Instant(nanoseconds: .max)
    private var nextSignOfLife: Instant?
    /// Nil while new connections are taken.
    private var acceptAgain: Instant?
    private var acceptTrouble: Sparing, peerTrouble: Sparing, sendTrouble: Sparing

    /// What the poller knows the daemon's own descriptors by.
    private enum Token {
        static let listener: UInt64 = 0, signals: UInt64 = 1, changes: UInt64 = 2, firstConnection: UInt64 = 16
    }

    /// What a turn has to send, in order.
    private typealias Turn = [(connection: Connection, answer: Answer)]

    init(
        _ listening: consuming Listening, signals: consuming Signals, watch: ChangeWatch?, broker: Broker,
        poller: Poller, policyFiles: PolicyFiles, manager: ServiceManager, voice: Voice, maxConnections: Int
    ) {
        self.listening = listening
        self.signals = signals
        self.watch = watch
        self.broker = broker
        self.policyFiles = policyFiles
        self.manager = manager
        self.voice = voice
        (acceptTrouble, peerTrouble, sendTrouble) = (Sparing(voice), Sparing(voice), Sparing(voice))
        self.maxConnections = maxConnections
        self.poller = poller
        nextSignOfLife = manager.watchdogMilliseconds.map { Instant.now.after(milliseconds: $0) }
    }

    /// Serves until a signal ends it.
    func run() throws(Failure) {
        try poller.watch(listening.socket.descriptor, for: .reading, as: Token.listener)
        try poller.watch(signals.descriptor, for: .reading, as: Token.signals)
        if let watch { try poller.watch(watch.descriptor, for: .reading, as: Token.changes) }
        while !isStopping { try turn(wait: untilNextChore()) }
        manager.stopping()
        try part()
        do throws(Failure) { try broker.stop() } catch {
            voice.say("the end could not be recorded: \(error)", .failure)
        }
        listening.removeSocket()
    }

    /// Answers what had come in by then, and those who were let in but had no time to ask: no request is
    /// lost. Where the socket is the service manager's, whoever comes now waits in it for the next daemon.
    private func part() throws(Failure) {
        if listening.outlivesTheDaemon { pauseAccepting(until: Instant(nanoseconds: .max)) }
        let end = Instant.now.after(milliseconds: Limits.partingMilliseconds)
        try turn(wait: 0)
        while connections.values.contains(where: { !$0.hasAsked }), Instant.now < end {
            try turn(wait: Instant.now.milliseconds(until: end))
        }
    }

    // MARK: A turn

    private func turn(wait: Int?) throws(Failure) {
        let events = try poller.wait(milliseconds: wait)
        turnBegan = .now
        // First, so that no answer of this turn is given by what is no longer so.
        if events.contains(where: { $0.token == Token.changes }) { broker.noteChanges() }

        var turn: Turn = []
        for event in events {
            switch event.token {
            case Token.listener: accept(&turn)
            case Token.signals, Token.changes: break
            case let number:
                if let connection = connections[number] { attend(to: connection, event, &turn) }
            }
        }
        chores()
        deliver(turn)
        // Last, so that what came before a signal is answered as of before it.
        if events.contains(where: { $0.token == Token.signals }) { obeySignals() }
    }

    /// Takes new connections: who it is, whether there is room.
    private func accept(_ turn: inout Turn) {
        do throws(Failure) {
            // Each turn, no more than there is room for: the others wait in the backlog.
            for _ in 0..<max(1, maxConnections / 4) {
                guard let socket = try listening.socket.accept() else { return }
                welcome(socket, &turn)
            }
        } catch {
            guard error.isShortage else { return acceptTrouble.say("a connection could not be taken: \(error)") }
            acceptTrouble.say("no connection can be taken for want of descriptors or memory: \(error); going on")
            pauseAccepting(until: Instant.now.after(milliseconds: Limits.busyMilliseconds))
        }
    }

    private func welcome(_ socket: consuming SeqpacketSocket, _ turn: inout Turn) {
        let peer: Peer
        do throws(Failure) { peer = try socket.peer() } catch {
            // Nothing is known of it, so it gets nothing; where that is this daemon's want, it is told.
            peerTrouble.say("a caller's identity could not be read: \(error)")
            if error.isShortage {
                try? socket.send(Reply.busy(decision: 0, milliseconds: Limits.busyMilliseconds).packet)
                socket.takeNoMore()
            }
            return
        }
        lastNumber += 1
        switch broker.admit(peer, total: connections.count, most: maxConnections) {
        case .turnedAway(let client, let answer):
            turn.append((Connection(number: lastNumber, socket: socket, client: client, isAdmitted: false), answer))
        case .admitted(let client):
            let connection = Connection(number: lastNumber, socket: socket, client: client, isAdmitted: true)
            connections[lastNumber] = connection
            nextSweep = min(nextSweep, connection.expiry)
            do throws(Failure) {
                try poller.watch(connection.socket.descriptor, for: .reading, as: connection.number)
            } catch { drop(connection) }
        }
    }

    /// Answers what a connection sent, or ends it where the client has gone.
    private func attend(to connection: Connection, _ event: Poller.Event, _ turn: inout Turn) {
        do throws(Failure) {
            if event.isReadable, !connection.isMuted {
                switch try connection.packet(into: &buffer, mayBeEnd: event.peerIsDone || event.isHungUp) {
                case .packet(let packet):
                    turn.append((connection, broker.answer(packet, from: connection.client, under: load)))
                // Where it only said that it will send no more, it may still have to read.
                case .end: event.isHungUp ? drop(connection) : end(connection)
                case .none: break
                }
            } else if event.isWritable {
                try goOnListing(connection)
            } else if event.isHungUp || event.peerIsDone {
                drop(connection)
            }
        } catch {
            // It reset the connection, or the like: its own affair.
            drop(connection)
        }
    }

    /// Commits the records of a turn and then sends its answers.
    private func deliver(_ turn: Turn) {
        var turn = turn
        var recorded: [Recorded] = []
        // Twice at the most: an answer that could not be delivered is answered once more.
        repeat {
            recorded += commit(turn)
            var again: Turn = []
            for (connection, answer) in turn { send(answer, to: connection, &again) }
            turn = again
        } while !turn.isEmpty
        // What was not delivered, to clients that are gone, is in no turn and still to be recorded.
        recorded += commit([])
        // Nobody who waits for a key waits for this.
        voice.tell(of: recorded)
    }

    /// Returns what is in the log now.
    private func commit(_ turn: Turn) -> [Recorded] {
        switch broker.commit(turn.map(\.answer)) {
        case .asEver(let recorded): return recorded
        case .failedAgain: return []
        case .failed(let failure):
            voice.say("the audit log cannot be written: \(failure); nothing is granted until it can", .failure)
            return []
        case .recovered(let recorded, let withdrawn):
            voice.say(
                "the audit log is written again; \(withdrawn) requests were answered as unavailable meanwhile",
                .warning)
            return recorded
        }
    }

    private func send(_ answer: Answer, to connection: Connection, _ again: inout Turn) {
        do throws(Failure) {
            if case .names = answer.reply {
                connection.begin(answer.names)
                try goOnListing(connection)
            } else {
                try connection.send(answer)
            }
            if answer.isLast { retire(connection) }
        } catch {
            // A client that has gone is no trouble; what it was granted is recorded as not delivered.
            if error.code != Failure.brokenPipe, error.code != Failure.connectionReset {
                sendTrouble.say("a reply to uid \(connection.client.peer.uid) could not be sent: \(error)")
            }
            if let instead = broker.undelivered(answer, to: connection.client, error) {
                again.append((connection, instead))
            } else {
                drop(connection)
            }
        }
    }

    private func goOnListing(_ connection: Connection) throws(Failure) {
        let wasWaiting = connection.isWaitingToSend
        connection.isWaitingToSend = try !connection.sendNames()
        guard connection.isWaitingToSend != wasWaiting else { return }
        try poller.change(
            connection.socket.descriptor, to: connection.isWaitingToSend ? .writing : .reading, as: connection.number)
    }

    /// How busy it is, for a status: a request waits from the turn that found it until it is answered.
    private var load: Load {
        let listings = connections.values.compactMap(\.listsSince)
        let oldest = listings.min().map { min($0, turnBegan) } ?? turnBegan
        return Load(
            connections: connections.count, mostConnections: maxConnections,
            oldestWaiting: oldest.milliseconds(until: .now))
    }

    // MARK: The end of a connection

    /// Ends it, once what it was sent can be read to the end.
    private func retire(_ connection: Connection) {
        if !connection.isMuted { connection.socket.takeNoMore() }
        end(connection)
    }

    /// Ends it as soon as no descriptor that was sent on it is unread: until then it keeps its place, and
    /// counts.
    private func end(_ connection: Connection) {
        guard connection.isAdmitted, (try? connection.hasUnreadDescriptors()) == true else {
            return drop(connection)
        }
        connection.isMuted = true
        connection.expiry = Instant.now.after(milliseconds: Limits.idleMilliseconds)
        do throws(Failure) {
            try poller.change(connection.socket.descriptor, to: .hangUp, as: connection.number)
        } catch { drop(connection) }
    }

    private func drop(_ connection: Connection) {
        guard connections.removeValue(forKey: connection.number) != nil else { return }
        broker.dismiss(connection.client)
    }

    // MARK: What is due

    /// How long nothing has to be done, in milliseconds; nil: for ever.
    private func untilNextChore() -> Int? {
        let dues = [nextSweep, broker.nextSettling, acceptAgain, nextSignOfLife].compactMap(\.self)
        guard let next = dues.min(), next.nanoseconds != .max else { return nil }
        return Instant.now.milliseconds(until: next)
    }

    private func chores() {
        let now = Instant.now
        if let due = broker.nextSettling, due <= now { broker.settle() }
        if nextSweep <= now { sweep(now) }
        if let again = acceptAgain, again <= now { resumeAccepting() }
        if let due = nextSignOfLife, due <= now {
            manager.isAlive()
            nextSignOfLife = manager.watchdogMilliseconds.map { now.after(milliseconds: $0) }
        }
    }

    /// Ends connections on which nothing came for too long.
    private func sweep(_ now: Instant) {
        for connection in Array(connections.values) where connection.expiry <= now {
            retire(connection)
        }
        nextSweep = connections.values.map(\.expiry).min() ?? Instant(nanoseconds: .max)
    }

    private func pauseAccepting(until instant: Instant) {
        acceptAgain = instant
        setAccepting(.hangUp)
    }

    private func resumeAccepting() {
        acceptAgain = nil
        setAccepting(.reading)
    }

    private func setAccepting(_ interest: Poller.Interest) {
        do throws(Failure) {
            try poller.change(listening.socket.descriptor, to: interest, as: Token.listener)
        } catch { acceptTrouble.say("the socket could not be watched: \(error)") }
    }

    // MARK: Signals

    private func obeySignals() {
        while let signal = signals.next() {
            switch signal {
            case .stop: isStopping = true
            case .reload(let uid, let pid): reload(askedBy: uid, pid: pid)
            }
        }
    }

    private func reload(askedBy uid: UInt32, pid: Int32) {
        manager.reloading()
        do throws(LogError) {
            if try broker.reopenLog() { voice.say("goes on in a new audit log", .information) }
        } catch { voice.say("the audit log is not reopened, and the old file is written on: \(error)", .failure) }
        let loading = policyFiles.load()
        for diagnostic in loading.diagnostics {
            let priority: Priority = diagnostic.severity == .error ? .failure : .warning
            for line in diagnostic.lines { voice.say(line, priority) }
        }
        let record = broker.adopt(loading, askedBy: uid, pid: pid)
        // In force or not, it has a number only where the log took it.
        let recorded = commit([]).last { $0.record.event == .reload }
        if loading.loaded != nil { warnOfKeysOutside() }
        let summary =
            loading.loaded == nil
            ? "the new policy is faulty and was not taken (\(loading.faults) faults); the old one stays in force"
            : "the policy was read anew: \(broker.policy.summary)"
        voice.say(summary, loading.loaded == nil ? .failure : .information, recorded?.fields ?? record.fields)
        manager.ready(summary)
    }

    /// The walls that the daemon put around itself cannot be moved: what is new outside of them takes a restart.
    private func warnOfKeysOutside() {
        for (key, path) in broker.keysOutside {
            voice.say(
                "key '\(key)' cannot be handed out: \(path) is in a directory that the daemon did not know when it started, "
                    + "and it keeps itself from reading elsewhere; restart it", .warning)
        }
    }
}

extension LoadedPolicy {
    /// "3 keys, policy 1a2b3c4d5e6f"
    var summary: String {
        "\(policy.keys.count) \(policy.keys.count == 1 ? "key" : "keys"), policy \(digest.prefix(12))"
    }
}
