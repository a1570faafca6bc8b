// The connections that there are, and the one way in which one ends.
//
// A place is free when nothing that was sent on it can still be in flight. Must never close a socket while a
// descriptor that was sent on it is unread: a client that hoards them would use up everybody's.

internal import Broker
internal import Kernel
internal import Wire

final class ConnectionTable {
    private let poller: Poller
    private let broker: Broker
    /// Those that the poller watches.
    private var serving: [UInt64: Connection] = [:]
    /// Those that it does not: a hang-up would be reported again and again.
    private var draining: [UInt64: Connection] = [:]
    private var nextIdle = Instant.never
    private var nextLook = Instant.never
    /// When all that are draining were looked at.
    private var lookedAt = Instant.boot

    init(_ poller: Poller, _ broker: Broker) {
        self.poller = poller
        self.broker = broker
    }

    subscript(number: UInt64) -> Connection? { serving[number] }

    var count: Int { serving.count + draining.count }

    /// One that was let in and has not asked yet.
    var hasSilent: Bool { serving.values.contains { !$0.hasAsked } }

    /// Since when the client waits for names that waits longest.
    var listsSince: Instant? { serving.values.compactMap(\.listsSince).min() }

    /// One that the broker admitted.
    func add(_ connection: Connection) {
        serving[connection.number] = connection
        nextIdle = min(nextIdle, connection.idleAt)
        do throws(Failure) {
            try poller.watch(connection.socket.descriptor, for: .reading, as: connection.number)
        } catch { close(connection) }
    }

    /// Waits for the client to read, or to ask.
    func setListing(_ isListing: Bool, _ connection: Connection) throws(Failure) {
        guard isListing != (connection.state == .listing) else { return }
        connection.state = isListing ? .listing : .open
        try poller.change(connection.socket.descriptor, to: isListing ? .writing : .reading, as: connection.number)
    }

    // MARK: Unread replies

    /// Looks whether replies were read meanwhile that the client's uid owes: if it is to have another one.
    func lookAtUnread(of client: Client, _ now: Instant) {
        guard broker.isWorthLooking(at: client, now: now) else { return }
        for connection in serving.values where connection.client.uid == client.uid { noteIfRead(connection) }
    }

    /// Looks whether the reply on it was read.
    func noteIfRead(_ connection: Connection) {
        // What cannot be asked is not known to have been read.
        if (try? connection.hasBeenRead()) == true { broker.noteRead(connection.client) }
    }

    // MARK: The end of a connection

    /// The one way in which a connection ends: closed at once, or as soon as what was sent on it was read.
    func leave(_ connection: Connection) {
        guard serving[connection.number] != nil else { return }
        noteIfRead(connection)
        guard connection.owesReading else { return close(connection) }
        connection.state = .draining
        serving[connection.number] = nil
        draining[connection.number] = connection
        connection.scheduleLook(.now)
        nextLook = min(nextLook, connection.nextLook)
        // It was watched, so that cannot fail but for want of memory; then it is reported, and passed over.
        try? poller.forget(connection.socket.descriptor)
    }

    private func close(_ connection: Connection) {
        connection.state = .closed
        serving[connection.number] = nil
        draining[connection.number] = nil
        if connection.owesReading { broker.noteRead(connection.client) }
        broker.dismiss(connection.client)
    }

    // MARK: What is due

    var nextDue: Instant { min(nextIdle, nextLook) }

    /// Those that had no granted request for too long.
    func idle(_ now: Instant) -> [Connection] {
        guard nextIdle <= now else { return [] }
        let idle = serving.values.filter { $0.idleAt <= now }
        nextIdle = serving.values.map(\.idleAt).filter { $0 > now }.min() ?? .never
        return idle
    }

    /// Closes those that are draining and whose last reply was read.
    /// - Parameter all: not only those whose time has come, as a place is wanted.
    func look(_ now: Instant, all: Bool = false) {
        if all {
            // Whoever is turned away can make the daemon look as often as it comes, but not more often than that.
            guard lookedAt.after(Limits.firstLook) <= now else { return }
            lookedAt = now
        } else if nextLook > now {
            return
        }
        for connection in Array(draining.values) where all || connection.nextLook <= now {
            guard connection.state.step(on: .timeToLook) == .look else { continue }
            noteIfRead(connection)
            if connection.owesReading { connection.scheduleLook(now) } else { close(connection) }
        }
        nextLook = draining.values.map(\.nextLook).min() ?? .never
    }
}
