// Watches a key: gets its content and each later one, over restarts of the broker.
//
// Must never give the same content twice, nor lose a rotation that happened while the broker was away. Must never give up
// for a reason that passes by itself.

package import Kernel
internal import Wire

/// One content of a watched key.
public final class KeyRotation: Sendable {
    /// The open files. Each rotation has files of its own, opened anew.
    public let key: KeyDescriptor
    /// How many rotations of the key the broker has seen since it started. It begins anew when the broker restarts.
    public let generation: UInt64

    init(_ key: consuming KeyDescriptor, generation: UInt64) {
        self.key = key
        self.generation = generation
    }
}

/// A watch of one key.
///
/// ```swift
/// var watch = try KeyBroker().watch("web-tls")
/// while true {
///     guard let rotation = try watch.next(waitingUpTo: .seconds(3600)) else { continue }
///     try use(try rotation.key.readKey())
/// }
/// ```
///
/// If the broker restarts, the watch connects again. It then gives the key only if its content is another one than
/// before. If the broker takes the permission away, a call throws ``KeyBrokerError/denied(key:decision:)``, and the watch
/// has ended.
///
/// A program with an event loop of its own calls ``advance()`` if the descriptor of ``withDescriptor(_:)`` is readable or
/// ``wait`` has passed.
public struct KeyWatch: ~Copyable, Sendable {
    /// The key's name in the policy.
    public let name: String
    private let broker: KeyBroker
    private let request: Request
    private var connection: Connection?
    /// Without a connection: when to connect. While the first reply on a connection is awaited: when it is too late.
    private var due: Instant? = .boot
    /// The broker's queue was found full: until when room in it is waited for. That is as long as it would be for a reply.
    private var roomEnd: Instant?
    private var ended: KeyBrokerError?
    private var pause = Deadline.firstPause
    /// When the broker granted the watch on this connection.
    private var granted: Instant?
    /// What was given last, or nil if nothing was.
    private var last: [ContentMark]?
    /// Why the broker could not be reached, or did not hand out the key, in the last attempt. Nil if it did.
    public private(set) var trouble: KeyBrokerError?

    init(_ name: String, _ broker: KeyBroker) throws(KeyBrokerError) {
        request = .watch(try KeyName(checking: name))
        self.name = name
        self.broker = broker
    }

    /// Waits for the first content of the key as ``KeyBroker/key(_:waitingUpTo:)-8tcpx`` does. If it was given already, waits
    /// for the next one.
    /// - Parameter wait: how long to wait for a broker that is still starting, is busy, or cannot hand out the key yet.
    /// - Throws: as ``next(waitingUpTo:)``, and ``KeyBrokerError/noAnswer(socket:after:)`` if no next one came in time.
    public mutating func first(waitingUpTo wait: Duration = .zero) throws(KeyBrokerError) -> KeyRotation {
        let end = Instant.now.after(min(max(wait, .zero), .seconds(1_000_000_000)))
        roomEnd = nil
        // What an earlier call has found is looked at anew.
        if !isConnected, trouble?.isFinal == true { due = .boot }
        while true {
            // A broker that is there has its time to answer.
            let room = last == nil ? Instant.never : end
            if let rotation = try advance(connectingUntil: room, calledOffBy: nil) { return rotation }
            let next = self.wait.map { Instant.now.after($0) } ?? end
            if let trouble, !isAsked, next > end || trouble.isFinal { throw trouble }
            // Nothing is due from a broker that has given the key.
            guard due != nil || Instant.now < end else { throw .noAnswer(socket: broker.socketPath, after: wait) }
            try waitForNews(until: next, nil)
        }
    }

    /// Waits for the next content of the key. The first call gives the current one.
    ///
    /// Calls `connect(2)`, `sendmsg(2)`, `recvmsg(2)` and `poll(2)`.
    /// - Parameter wait: how long to wait.
    /// - Returns: nil if there was none in time.
    /// - Throws: ``KeyBrokerError`` if the caller may not have the key (any more), or if what listens at the socket is not
    ///   this broker. If the key was never handed out, also the reason why, once the time is over.
    public mutating func next(waitingUpTo wait: Duration) throws(KeyBrokerError) -> KeyRotation? {
        try next(until: Instant.now.after(min(max(wait, .zero), .seconds(1_000_000_000))), calledOffBy: nil)
    }

    mutating func next(until end: Instant, calledOffBy wakeUp: WakeUp?) throws(KeyBrokerError) -> KeyRotation? {
        while true {
            if let rotation = try advance(connectingUntil: end, calledOffBy: wakeUp) { return rotation }
            let now = Instant.now
            guard now < end else {
                if last == nil, !isAsked, let trouble { throw trouble }
                return nil
            }
            try waitForNews(until: self.wait.map { min(now.after($0), end) } ?? end, wakeUp)
        }
    }

    private borrowing func waitForNews(until end: Instant, _ wakeUp: WakeUp?) throws(KeyBrokerError) {
        let outcome: WaitOutcome
        switch connection {
        case .some(let connection): outcome = try connection.wait(until: end, orCalledOffBy: wakeUp)
        case .none: outcome = try calling(try Kernel.pause(until: end, orCalledOffBy: wakeUp))
        }
        if outcome == .calledOff { throw .cancelled }
    }

    /// Asks the broker again, on a new connection. The next content is then given even if it is the one that was given
    /// last, and a watch that has ended begins again.
    public mutating func restart() {
        connection = nil
        (due, ended, last, trouble) = (.boot, nil, nil, nil)
        (roomEnd, granted) = (nil, nil)
        pause = Deadline.firstPause
    }

    /// Does what can be done without waiting: connects, asks and receives.
    /// - Returns: the key if there is a new content of it.
    /// - Throws: as ``next(waitingUpTo:)``, but never for a reason that may pass by itself: see ``trouble``.
    public mutating func advance() throws(KeyBrokerError) -> KeyRotation? {
        try advance(connectingUntil: nil, calledOffBy: nil)
    }

    /// - Parameter end: until when to wait for room in the broker's queue. Nil: not at all.
    private mutating func advance(
        connectingUntil end: Instant?, calledOffBy wakeUp: WakeUp?
    ) throws(KeyBrokerError) -> KeyRotation? {
        if let ended { throw ended }
        do throws(KeyBrokerError) {
            try connectIfDue(end, wakeUp)
            while var reply = try received() {
                if let rotation = try rotation(in: &reply) { return rotation }
            }
            return nil
        } catch {
            connection = nil
            roomEnd = nil
            if error == .cancelled { throw error }
            // A broker that grants and ends at once would be asked without a pause.
            if let granted, granted.after(Deadline.steady) <= Instant.now { pause = Deadline.firstPause }
            granted = nil
            guard error.mayPass(hasBegun: last != nil) else {
                ended = error
                throw error
            }
            trouble = error
            tryAgain(after: error.delay ?? pause)
            return nil
        }
    }

    private mutating func tryAgain(after delay: Duration) {
        due = Instant.now.after(delay)
        pause = min(pause * 2, Deadline.longestPause)
    }

    private mutating func connectIfDue(_ end: Instant?, _ wakeUp: WakeUp?) throws(KeyBrokerError) {
        guard !isConnected, let start = due, start <= Instant.now else { return }
        let limit = roomEnd ?? Instant.now.after(Limits.reply)
        do throws(KeyBrokerError) {
            let new = try Connection(
                to: broker.socketPath, waitingUntil: end.map { min($0, limit) }, calledOffBy: wakeUp)
            try new.send(request)
            connection = consume new
        } catch {
            // The queue is full. Nobody can say yet that the broker does not answer.
            guard case .noAnswer = error, Instant.now < limit else { throw error }
            roomEnd = limit
            tryAgain(after: pause)
            return
        }
        roomEnd = nil
        connections += 1
        due = Instant.now.after(Limits.reply)
    }

    private borrowing func received() throws(KeyBrokerError) -> ReceivedReply? {
        switch connection {
        case .some(let connection): if let reply = try connection.received() { return reply }
        case .none: return nil
        }
        if let due, due <= Instant.now { throw .noAnswer(socket: broker.socketPath, after: Limits.reply) }
        return nil
    }

    /// Whether the broker is there, and has time to answer.
    private var isAsked: Bool { isConnected || roomEnd != nil }

    private var isConnected: Bool {
        switch connection {
        case .some: true
        case .none: false
        }
    }

    /// The key in a reply, or nil if its content was given before.
    private mutating func rotation(in reply: inout ReceivedReply) throws(KeyBrokerError) -> KeyRotation? {
        guard case .rotated(let decision, let generation) = reply.reply else { throw reply.error(watching: name) }
        let key = KeyDescriptor(
            name: name, decision: decision, key: try reply.takeKey(), certificate: try reply.takeCertificate())
        if due != nil { granted = .now }
        (trouble, due) = (nil, nil)
        let marks = try key.marks()
        guard marks != last else { return nil }
        last = marks
        return KeyRotation(key, generation: generation)
    }

    /// How often the watch has connected. The descriptor is another one after each time.
    package private(set) var connections = 0

    /// Has the poller report news of the connection, until it ends.
    package borrowing func register(with poller: Poller, as token: UInt64) throws(Failure) {
        switch connection {
        case .some(let connection): try connection.register(with: poller, as: token)
        case .none: return
        }
    }

    /// Passes the number of the descriptor that becomes readable when there is news, or nil if the watch is not connected.
    /// It can be another one after each call of ``advance()``. It must only be waited for.
    public borrowing func withDescriptor<R, E: Error>(_ body: (Int32?) throws(E) -> R) throws(E) -> R {
        switch connection {
        case .some(let connection): try connection.withNumber { number throws(E) in try body(number) }
        case .none: try body(nil)
        }
    }

    /// When to call ``advance()`` even if the descriptor is not readable, counted from now. Nil: not before it is.
    public var wait: Duration? { due.map { Instant.now.until($0) } }
}

extension ReceivedReply {
    /// The error for a caller whose watch did not begin, or has ended.
    fileprivate func error(watching key: String) -> KeyBrokerError {
        if case .watchEnded(let decision, _) = reply { return .denied(key: key, decision: decision) }
        return error(asking: key)
    }
}

extension KeyBrokerError {
    /// Whether it is worth trying again.
    /// - Parameter hasBegun: the broker has handed out the key before. What is in its place for a moment, while it
    ///   restarts, must not end the watch.
    fileprivate func mayPass(hasBegun: Bool) -> Bool {
        switch self {
        case .notRunning, .busy, .noAnswer, .unavailable, .shortage: true
        case .mayNotConnect, .untrusted: hasBegun
        case .denied, .notAdministrator, .notReloaded, .protocolViolation, .invalidName, .unusableFile, .cancelled,
            .system:
            false
        // No watch signs.
        case .messageDenied, .cannotSign, .tooManySignatures, .noSignature, .keyChanged: false
        }
    }

    /// Whether the attempt has already waited as long as it may.
    fileprivate var isFinal: Bool {
        if case .noAnswer = self { return true }
        return false
    }

    /// How long to wait before the next attempt, if it is not the usual pause.
    fileprivate var delay: Duration? {
        switch self {
        // The broker has said so.
        case .busy(_, let delay): max(delay, Deadline.firstPause)
        // Each attempt may have a grant in the audit log, whose descriptors did not arrive.
        case .shortage: Limits.retry
        default: nil
        }
    }
}
