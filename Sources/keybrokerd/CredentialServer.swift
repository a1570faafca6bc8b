// Serves the service manager: accepts its connections, and sends the credentials that the policy permits.
//
// A turn here is like one of the event loop, and follows it: decide, commit, send. Must never block, or send a byte
// before the record is in the log. A peer that does not read must never cost more than its own place.

internal import Broker
internal import Kernel
internal import Wire

final class CredentialServer {
    private let listener: CredentialListener
    private let broker: Broker
    private let poller: Poller
    private let closer: Closer?
    private let logger: Logger
    private var transfers: [UInt64: CredentialTransfer] = [:]
    /// Connections whose file is not opened yet, and when to ask for it again.
    private var waiting: [WaitingConnection] = []
    private var askAgain = Instant.never
    private var lastNumber: UInt64
    private var isAccepting = true
    /// When to accept again after descriptors or memory were short.
    private var acceptAgain: Instant?
    private var trouble: RateLimited

    /// The number by which the poller knows the listener. Those of the connections follow it.
    private static let listening: UInt64 = 1 << 63

    init(
        _ listener: consuming CredentialListener, _ broker: Broker, _ poller: Poller, _ closer: Closer?,
        _ logger: Logger
    ) throws(Failure) {
        self.broker = broker
        self.closer = closer
        self.poller = poller
        self.logger = logger
        trouble = RateLimited(logger)
        lastNumber = Self.listening
        broker.credentials.place = listener.path ?? "service-manager"
        try poller.watch(listener.socket.descriptor, for: .reading, as: Self.listening)
        self.listener = listener
    }

    /// Whether a credential is being sent.
    var isSending: Bool { !transfers.isEmpty || !waiting.isEmpty }

    // MARK: A turn

    /// Does what the events require.
    /// - Parameter commit: writes the staged records, and returns those that are now in the log.
    func turn(_ events: [Poller.Event], commit: () -> [Recorded]) {
        guard events.contains(where: { $0.token >= Self.listening }) else { return }
        var recorded: [Recorded] = []
        if isAccepting, events.contains(where: { $0.token == Self.listening }) {
            let decided = accept()
            if !decided.isEmpty { recorded += begin(decided, recorded: commit()) }
        }
        for event in events {
            if let transfer = transfers[event.token], transfer.isWatched { proceed(transfer) }
        }
        recorded += commit()
        broker.count()
        logger.log(recorded)
        updateAccepting()
    }

    /// Decides on the connections that wait, as long as there is a place for each.
    private func accept() -> [CredentialTransfer] {
        var decided: [CredentialTransfer] = []
        do throws(Failure) {
            while places > decided.count {
                let accepted = try listener.socket.accept()
                guard let connection = accepted else { break }
                decide(on: WaitingConnection(connection, closedBy: closer), &decided)
            }
        } catch {
            trouble.log("a connection of the service manager could not be taken: \(error)")
            acceptAgain = Instant.now.after(Limits.busy)
        }
        return decided
    }

    private var places: Int { Limits.credentials - transfers.count - waiting.count }

    /// Decides on a connection, or has it wait until its file is opened.
    private func decide(
        on connection: WaitingConnection, mayWait: Bool = true, _ decided: inout [CredentialTransfer]
    ) {
        guard let taken = connection.take() else { return }
        let now = Instant.now
        let credential = broker.credential(
            taken.credentials, from: taken.peerName, mayWait: mayWait && now < connection.end
        ) { pid throws(Failure) in try taken.peerProcess(pid) }
        guard let credential else {
            connection.put(taken)
            waiting.append(connection)
            askAgain = now.after(Limits.credentialAgain)
            return
        }
        lastNumber += 1
        decided.append(CredentialTransfer(number: lastNumber, taken, credential, closedBy: closer))
    }

    /// Sends what was granted, and closes the connections of the rest: an empty credential is a refusal.
    private func begin(_ decided: [CredentialTransfer], recorded: [Recorded]) -> [Recorded] {
        let written = Set(recorded.map(\.number))
        for transfer in decided where transfer.credential.isGranted {
            if written.contains(transfer.credential.decision) {
                transfers[transfer.number] = transfer
                proceed(transfer)
            } else {
                // The log cannot be written, and the commit has taken the grant back.
                broker.end(transfer.credential, undelivered: nil)
                let unit = transfer.credential.unit ?? "a unit"
                trouble.log("\(unit) is given an empty credential: the log cannot be written")
            }
        }
        return recorded
    }

    private func proceed(_ transfer: CredentialTransfer) {
        switch transfer.proceed() {
        case .done: end(transfer, nil)
        case .failed(let fault): end(transfer, fault)
        case .waits:
            guard !transfer.isWatched else { return }
            transfer.isWatched = true
            do throws(Failure) {
                try poller.watch(transfer.connection.descriptor, for: .writing, as: transfer.number)
            } catch { end(transfer, "\(error)") }
        }
    }

    private func end(_ transfer: CredentialTransfer, _ fault: String?) {
        transfers[transfer.number] = nil
        broker.end(transfer.credential, undelivered: fault)
    }

    /// Leaves connections in the backlog while there is no place.
    private func updateAccepting() {
        let mayAccept = acceptAgain == nil && places > 0
        guard mayAccept != isAccepting else { return }
        isAccepting = mayAccept
        do throws(Failure) {
            try poller.change(
                listener.socket.descriptor, to: mayAccept ? .reading : .hangUp, as: Self.listening)
        } catch { trouble.log("the credential socket could not be watched: \(error)") }
    }

    // MARK: The clock

    /// When `doChores` next has something to do.
    var nextDue: Instant? {
        [transfers.values.map(\.end).min(), acceptAgain, waiting.isEmpty ? nil : askAgain].compactMap(\.self).min()
    }

    /// Ends what takes too long.
    func doChores(_ now: Instant, commit: () -> [Recorded]) {
        if let again = acceptAgain, again <= now { acceptAgain = nil }
        let late = transfers.values.filter { $0.end <= now }
        for transfer in late { end(transfer, "it was not read in time") }
        if !late.isEmpty {
            logger.log(commit())
            broker.count()
        }
        if !waiting.isEmpty, askAgain <= now {
            let connections = waiting
            waiting = []
            var decided: [CredentialTransfer] = []
            for connection in connections { decide(on: connection, &decided) }
            if !decided.isEmpty { logger.log(begin(decided, recorded: commit())) }
            logger.log(commit())
            broker.count()
        }
        updateAccepting()
    }

    // MARK: The end

    /// Accepts no more connections: they wait for the next daemon.
    func stopAccepting() {
        acceptAgain = .never
        updateAccepting()
    }

    /// Ends what is not sent yet, and stages the corrections. What still waits for its file is refused, with a record.
    func stop() {
        var decided: [CredentialTransfer] = []
        for connection in waiting { decide(on: connection, mayWait: false, &decided) }
        for transfer in decided where transfer.credential.isGranted { transfers[transfer.number] = transfer }
        for transfer in Array(transfers.values) { end(transfer, "the daemon ended") }
        listener.removeSocket()
    }
}

/// A connection that is not decided on yet.
private final class WaitingConnection {
    private var connection: CredentialConnection?
    /// When it waits no longer.
    let end: Instant

    private let closer: Closer?

    init(_ connection: consuming CredentialConnection, closedBy closer: Closer?) {
        self.connection = Optional(connection)
        self.closer = closer
        end = Instant.now.after(Limits.credential)
    }

    deinit {
        guard var connection = take() else { return }
        connection.end(by: closer)
    }

    func take() -> CredentialConnection? { connection.take() }

    func put(_ connection: consuming CredentialConnection) { self.connection = Optional(connection) }
}
