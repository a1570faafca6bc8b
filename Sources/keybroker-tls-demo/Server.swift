// The loop of the demo server: listeners, visitors, signals, on one thread.
//
// Must never wait for one client while another could be served, nor end for what a client did.

internal import Kernel
internal import Streams
internal import TLS

final class Server {
    private let options: Options
    private let runningAs: RunningAs
    private let attempt: KeyPathAttempt
    private var identity: Identity
    private var facts: Facts
    /// None once the end has begun.
    private var listeners: [UInt64: Listener]
    private let signals: Signals
    private let poller: Poller
    private var visitors: [UInt64: Visitor] = [:]
    /// Those that have more to do than fits in a turn.
    private var unfinished: Set<UInt64> = []
    private var lastNumber: UInt64
    private var isAccepting = true
    /// When to try again, where there was no descriptor left for a connection.
    private var acceptAgain: Instant?
    /// Until when nothing is said of that, as it has just been said.
    private var silentUntil = Instant.boot
    /// When the end comes even for those that are still served.
    private var end: Instant?

    /// A listener that can be in a list.
    private final class Listener {
        let listener: StreamListener
        init(_ listener: consuming StreamListener) { self.listener = listener }
    }

    private static let signalsToken: UInt64 = 0
    /// How long clients have to take what they asked for, once the server is told to stop.
    private static let patienceAtEnd = Duration.seconds(5)
    /// How long to wait for descriptors that come back, and how often to say so.
    private static let shortage = Duration.milliseconds(250), silence = Duration.seconds(10)
    /// Connections accepted before those that are there have a turn.
    private static let acceptedInTurn = 64
    /// How long the broker may be waited for while clients are served.
    private static let renewal = Duration.seconds(1)

    /// Listens at all addresses, or at none.
    init(_ options: Options, _ runningAs: RunningAs, _ identity: Identity, _ signals: consuming Signals) throws(Exit) {
        self.options = options
        self.runningAs = runningAs
        self.identity = identity
        attempt = KeyPathAttempt(options.keyPath)
        facts = Self.facts(options, runningAs, attempt, identity)
        var listeners: [UInt64: Listener] = [:]
        for address in options.addresses {
            do throws(StreamListener.Refusal) {
                listeners[UInt64(listeners.count) + 1] = Listener(try StreamListener(address))
            } catch {
                for (_, listener) in listeners { Self.removeSocket(listener) }
                throw Exit(
                    status: error.isPermission ? Exit.notPermitted : Exit.system, description: error.description)
            }
        }
        self.listeners = listeners
        self.signals = signals
        lastNumber = UInt64(listeners.count)
        // Room for all that can be ready at once: nothing waits for another turn.
        let capacity = options.maxConnections + listeners.count + 1
        poller = try Exit.onFailure(try Poller(capacity: capacity))
    }

    /// Serves until a signal ends it.
    func run() throws(Failure) {
        try poller.watch(signals.descriptor, for: .reading, as: Self.signalsToken)
        for (token, listener) in listeners.sorted(by: { $0.key < $1.key }) {
            try poller.watch(listener.listener.descriptor, for: .reading, as: token)
            StandardStream.output.writeLine("listening on \(listener.listener.address.url)")
        }
        StandardStream.output.writeLine(
            "ready: key \(options.key), decision \(identity.decision), uid \(runningAs.uid)")
        while !isOver {
            for event in try poller.wait(atMost: untilNextChore()) { attend(to: event) }
            chores()
        }
    }

    private var isOver: Bool {
        guard let end else { return false }
        return visitors.isEmpty || Instant.now >= end
    }

    private func attend(to event: Poller.Event) {
        if event.token == Self.signalsToken {
            while let signal = signals.next() { obey(signal) }
        } else if let listener = listeners[event.token] {
            accept(listener)
        } else if let visitor = visitors[event.token] {
            proceed(visitor)
        }
    }

    // MARK: Visitors

    private func accept(_ listener: Listener) {
        for _ in 0..<Self.acceptedInTurn where isAccepting {
            do throws(Failure) {
                guard let socket = try listener.listener.accept() else { return }
                welcome(socket)
            } catch { pauseAccepting(error) }
        }
    }

    private func welcome(_ socket: consuming Descriptor) {
        let stream: TLSStream
        do throws(LibraryFailure) { stream = try TLSStream.serving(socket, context: identity.context) } catch {
            return complain("a client was turned away: \(error)")
        }
        lastNumber += 1
        let visitor = Visitor(number: lastNumber, stream: stream, facts: facts, idle: .seconds(options.idleSeconds))
        do throws(Failure) { try poller.watch(visitor.stream.socket, for: .reading, as: visitor.number) } catch {
            return pauseAccepting(error)
        }
        visitors[visitor.number] = visitor
        // The others wait in the kernel's queue until one leaves.
        if visitors.count >= options.maxConnections { setAccepting(false) }
        proceed(visitor)
    }

    private func proceed(_ visitor: Visitor) {
        unfinished.remove(visitor.number)
        let interest: Poller.Interest
        switch visitor.proceed() {
        case .end: return drop(visitor)
        // What it has to do may already be in memory, of which the poller knows nothing.
        case .goOn:
            unfinished.insert(visitor.number)
            return
        case .waitToRead: interest = .reading
        case .waitToWrite: interest = .writing
        }
        guard interest != visitor.interest else { return }
        visitor.interest = interest
        do throws(Failure) {
            try poller.change(visitor.stream.socket, to: interest, as: visitor.number)
        } catch { drop(visitor) }
    }

    private func drop(_ visitor: Visitor) {
        unfinished.remove(visitor.number)
        visitors[visitor.number] = nil
        if acceptAgain == nil { setAccepting(true) }
    }

    // MARK: What is due

    private func untilNextChore() -> Duration? {
        if !unfinished.isEmpty { return .zero }
        let dues = visitors.values.map(\.deadline) + [acceptAgain, end].compactMap(\.self)
        return dues.min().map { Instant.now.until($0) }
    }

    private func chores() {
        for number in unfinished.sorted() {
            if let visitor = visitors[number] { proceed(visitor) }
        }
        let now = Instant.now
        for visitor in Array(visitors.values) where visitor.deadline <= now {
            visitor.sayGoodbye()
            drop(visitor)
        }
        if let again = acceptAgain, again <= now {
            acceptAgain = nil
            setAccepting(visitors.count < options.maxConnections)
        }
    }

    /// Too many files are open, in this program or the system: those that leave make room.
    private func pauseAccepting(_ failure: Failure) {
        let now = Instant.now
        if now >= silentUntil {
            complain("new clients have to wait: \(failure); allow more open files, or fewer --max-connections")
            silentUntil = now.after(Self.silence)
        }
        acceptAgain = now.after(Self.shortage)
        setAccepting(false)
    }

    private func setAccepting(_ isAccepting: Bool) {
        guard isAccepting != self.isAccepting else { return }
        self.isAccepting = isAccepting
        for (token, listener) in listeners {
            do throws(Failure) {
                try poller.change(listener.listener.descriptor, to: isAccepting ? .reading : .hangUp, as: token)
            } catch { complain("\(listener.listener.address): \(error)") }
        }
    }

    // MARK: Signals

    private func obey(_ signal: Signals.Arrived) {
        switch signal {
        case .reload: renew()
        case .stop: stop()
        }
    }

    private func stop() {
        guard end == nil else { return }
        end = Instant.now.after(Self.patienceAtEnd)
        acceptAgain = nil
        for (_, listener) in listeners { Self.removeSocket(listener) }
        listeners = [:]
        for visitor in Array(visitors.values) {
            visitor.endSoon()
            // What it asked before the signal came may still be unread.
            proceed(visitor)
            guard visitors[visitor.number] != nil, visitor.isIdle, !unfinished.contains(visitor.number) else {
                continue
            }
            visitor.sayGoodbye()
            drop(visitor)
        }
    }

    private static func removeSocket(_ listener: Listener) {
        do throws(Failure) { try listener.listener.removeSocket() } catch {
            complain("its socket is left behind: \(error)")
        }
    }

    /// Asks for the key anew; those who are connected keep what they began with.
    private func renew() {
        do throws(Exit) {
            identity = try Identity(options, waitingUpTo: min(.seconds(options.wait), Self.renewal))
            facts = Self.facts(options, runningAs, attempt, identity)
            StandardStream.output.writeLine("renewed: key \(options.key), decision \(identity.decision)")
        } catch { complain("keeps the old key and certificate: \(error.description)") }
    }

    private static func facts(
        _ options: Options, _ runningAs: RunningAs, _ attempt: KeyPathAttempt, _ identity: Identity
    ) -> Facts {
        Facts(
            key: options.key, runningAs: runningAs, attempt: attempt, decision: identity.decision, kind: identity.kind,
            fingerprint: identity.fingerprint)
    }
}
