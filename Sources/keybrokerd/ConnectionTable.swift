// All connections, and the only way in which one ends.
//
// A place is free only when nothing that was sent on its connection can still be in flight. Must never close a socket
// while a file descriptor that was sent on it is unread: a client that hoards them would use up the limit for
// everybody.

internal import Broker
internal import Kernel
internal import Wire

final class ConnectionTable {
    private let poller: Poller
    private let broker: Broker
    /// Connections that the poller watches.
    private var serving: [UInt64: Connection] = [:]
    /// Connections that the poller does not watch, because it would report their hang-up again and again.
    private var draining: [UInt64: Connection] = [:]
    /// When to read again from the next of them from which nothing is read until a moment has come.
    private var nextRead = Instant.never
    private var nextIdle = Instant.never
    private var nextLook = Instant.never
    /// When all draining connections were last checked together.
    private var lookedAt = Instant.boot

    init(_ poller: Poller, _ broker: Broker) {
        self.poller = poller
        self.broker = broker
    }

    subscript(number: UInt64) -> Connection? { serving[number] }

    var count: Int { serving.count + draining.count }

    /// Whether there is an admitted connection that has not sent a request yet.
    var hasSilent: Bool { serving.values.contains { !$0.hasAsked } }

    /// Since when the client has waited that has waited longest for its list, or nil if none is being sent.
    var listsSince: Instant? { serving.values.compactMap(\.listsSince).min() }

    /// Adds a connection that the broker admitted.
    func add(_ connection: Connection) {
        serving[connection.number] = connection
        nextIdle = min(nextIdle, connection.idleAt)
        do throws(Failure) {
            try poller.watch(connection.socket.descriptor, for: .reading, as: connection.number)
        } catch { close(connection) }
    }

    /// Switches between waiting for requests and waiting for room to send the list.
    func setListing(_ isListing: Bool, _ connection: Connection) throws(Failure) {
        guard isListing != (connection.state == .listing) else { return }
        connection.state = isListing ? .listing : .open
        try poller.change(connection.socket.descriptor, to: isListing ? .writing : .reading, as: connection.number)
    }

    // MARK: Clients that do not wait

    /// Reads nothing from a client that asks again before the moment that it was told. So it costs two calls in all that
    /// time, however much it sends.
    func wait(_ connection: Connection) throws(Failure) {
        connection.state = .waiting
        try poller.change(connection.socket.descriptor, to: .hangUp, as: connection.number)
        nextRead = min(nextRead, connection.nextRequest)
    }

    /// Reads again from the clients whose moment has come.
    func readAgain(_ now: Instant) {
        guard nextRead <= now else { return }
        nextRead = .never
        for connection in Array(serving.values) where connection.state.step(on: .timeToRead) == .read {
            guard connection.nextRequest <= now else {
                nextRead = min(nextRead, connection.nextRequest)
                continue
            }
            connection.state = .open
            watch(connection, for: .reading)
        }
    }

    // MARK: Clients that wait for a channel

    /// Reads nothing from a client until the signer has said whether its channel is open.
    func wait(_ connection: Connection, for channel: Channel) {
        channel.connection = connection.number
        connection.channel = channel
        connection.state = .opening
        watch(connection, for: .hangUp)
    }

    /// Reads again from such a client.
    func goOn(_ connection: Connection) {
        guard connection.state.step(on: .channelAnswer) == .read else { return }
        connection.channel = nil
        connection.state = .open
        watch(connection, for: .reading)
    }

    private func watch(_ connection: Connection, for interest: Poller.Interest) {
        do throws(Failure) {
            try poller.change(connection.socket.descriptor, to: interest, as: connection.number)
        } catch { leave(connection) }
    }

    // MARK: Unread replies

    /// If the client's uid has reached its limit of unread replies: checks whether some of them were read since.
    func lookAtUnread(of client: Client, _ now: Instant) {
        guard broker.isWorthLooking(at: client, now: now) else { return }
        for connection in serving.values where connection.client.sharesAccount(with: client) { connection.noteIfRead() }
        look(now, all: true)
    }

    /// Checks which watching connections have read what they were told last.
    func noteReadWatches() {
        for connection in serving.values where connection.watch != nil { connection.noteIfRead() }
    }

    // MARK: The end of a connection

    /// The only way in which a connection ends: at once, or as soon as what was sent on it was read.
    func leave(_ connection: Connection) {
        guard serving[connection.number] != nil else { return }
        if let watch = connection.takeWatch() { broker.end(watch) }
        if let channel = connection.channel.take() { broker.abandon(channel) }
        connection.noteIfRead()
        guard connection.owesReading else { return close(connection) }
        connection.state = .draining
        serving[connection.number] = nil
        draining[connection.number] = connection
        connection.scheduleLook(.now)
        nextLook = min(nextLook, connection.nextLook)
        // The socket was watched, so this can fail only if memory is short. The poller may then still report it, and
        // the loop skips it because it is no longer served.
        try? poller.forget(connection.socket.descriptor)
    }

    private func close(_ connection: Connection) {
        connection.state = .closed
        // The closer may keep the socket a while, and the poller would report it all that time.
        if !connection.isEmpty { try? poller.forget(connection.socket.descriptor) }
        serving[connection.number] = nil
        draining[connection.number] = nil
        connection.noteRead()
        broker.dismiss(connection.client)
    }

    /// Ends all, at the end of the daemon. Replies that are unread stay where they are.
    func endAll() { for connection in Array(serving.values) + Array(draining.values) { close(connection) } }

    // MARK: What is due

    var nextDue: Instant { min(nextIdle, nextLook, nextRead) }

    /// The connections on which no request was granted for too long.
    func idle(_ now: Instant) -> [Connection] {
        guard nextIdle <= now else { return [] }
        let idle = serving.values.filter { $0.idleAt <= now }
        nextIdle = serving.values.map(\.idleAt).filter { $0 > now }.min() ?? .never
        return idle
    }

    /// Closes draining connections whose last reply was read.
    /// - Parameter all: true to check all of them because a place is wanted, and not only those that are due.
    func look(_ now: Instant, all: Bool = false) {
        if all {
            // A caller that is turned away can cause this check as often as it connects, so the check has a minimum
            // interval.
            guard lookedAt.after(Limits.firstLook) <= now else { return }
            lookedAt = now
        } else if nextLook > now {
            return
        }
        for connection in Array(draining.values) where all || connection.nextLook <= now {
            guard connection.state.step(on: .timeToLook) == .look else { continue }
            connection.noteIfRead()
            if connection.owesReading { connection.scheduleLook(now) } else { close(connection) }
        }
        nextLook = draining.values.map(\.nextLook).min() ?? .never
    }
}
