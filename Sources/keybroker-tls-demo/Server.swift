// The event loop of the demo server: listeners, visitors and signals, on one thread.
//
// Must never wait for one client while it could serve another. Must never end because of what a client did.

internal import Kernel
internal import KeyBrokerClient
internal import Streams
internal import PEM
internal import TLS

final class Server {
    private let options: Options
    private let runningAs: RunningAs
    private let attempt: KeyPathAttempt
    private var identity: Identity
    /// Nil if the key is lent.
    private let watchedKey: WatchedKey?
    private let watchToken: UInt64
    private var facts: Facts
    /// Empty once the server has begun to end.
    private var listeners: [UInt64: Listener]
    private let signals: Signals
    private let poller: Poller
    private var visitors: [UInt64: Visitor] = [:]
    /// Visitors that have more to do than fits into one turn.
    private var unfinished: Set<UInt64> = []
    private var lastNumber: UInt64
    private var isAccepting = true
    /// When to accept again, or nil unless file descriptors ran out.
    private var acceptAgain: Instant?
    /// No message about that is written before this time, because the last one is recent.
    private var silentUntil = Instant.boot
    /// The same for signatures that are refused.
    private var silentAboutRefusalsUntil = Instant.boot
    /// When the server ends even if clients are still being served, or nil while it runs.
    private var end: Instant?

    /// A class around the listener, so that a collection can hold it.
    private final class Listener {
        let listener: StreamListener
        init(_ listener: consuming StreamListener) { self.listener = listener }
    }

    private static let signalsToken: UInt64 = 0
    /// How long clients may take for their last responses after the server is told to stop.
    private static let patienceAtEnd = Duration.seconds(5)
    /// How long to wait for free file descriptors, and how often at most to report that they ran out, or that a
    /// signature was refused.
    private static let shortage = Duration.milliseconds(250), silence = Duration.seconds(10)
    /// How many connections are accepted before existing ones get their turn.
    private static let acceptedInTurn = 64

    /// Listens at all addresses, or fails if it cannot listen at one of them.
    init(
        _ options: Options, _ runningAs: RunningAs, _ identity: Identity, _ watchedKey: WatchedKey?,
        _ signals: consuming Signals
    ) throws(Exit) {
        self.options = options
        self.runningAs = runningAs
        self.identity = identity
        self.watchedKey = watchedKey
        attempt = KeyPathAttempt(options.keyPath)
        facts = Facts(options, runningAs, attempt, identity)
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
        watchToken = UInt64(listeners.count) + 1
        lastNumber = watchToken
        // There is room for everything that can be ready at once, so that nothing has to wait for another turn.
        let capacity = options.maxConnections + listeners.count + 2
        poller = try Exit.onFailure(try Poller(capacity: capacity))
    }

    /// Serves until a signal stops the server.
    func run() throws(Failure) {
        try poller.watch(signals.descriptor, for: .reading, as: Self.signalsToken)
        for (token, listener) in listeners.sorted(by: { $0.key < $1.key }) {
            try poller.watch(listener.listener.descriptor, for: .reading, as: token)
            StandardStream.output.writeLine("listening on \(listener.listener.address.url)")
        }
        StandardStream.output.writeLine(
            "ready: key \(options.key), decision \(identity.decision), uid \(runningAs.uid)")
        lookForRotation()
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
        } else if event.token == watchToken {
            lookForRotation()
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
        // Further clients wait in the kernel's queue until a visitor leaves.
        if visitors.count >= options.maxConnections { setAccepting(false) }
        proceed(visitor)
    }

    private func proceed(_ visitor: Visitor) {
        unfinished.remove(visitor.number)
        let interest: Poller.Interest
        switch visitor.proceed() {
        case .end:
            if let refusal = visitor.stream.refusal { complainOfRefusal(refusal) }
            return drop(visitor)
        // Its input may already be in memory, and the poller does not report that.
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

    /// The client is told nothing of it.
    private func complainOfRefusal(_ reason: String) {
        let now = Instant.now
        guard now >= silentAboutRefusalsUntil else { return }
        silentAboutRefusalsUntil = now.after(Self.silence)
        complain("a handshake was not signed: \(reason)")
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
        return [dues.min().map { Instant.now.until($0) }, watchedKey?.wait].compactMap(\.self).min()
    }

    private func chores() {
        if watchedKey?.wait == .zero { lookForRotation() }
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

    /// Stops accepting for a while: the process or the system has too many open files. Clients that leave make room.
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
            // A request that arrived before the signal may still be unread.
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

    // MARK: The next key

    /// Asks for the key again. The answer comes as a rotation does, and clients are served meanwhile. For a key that is
    /// lent they wait, as they do for each signature.
    private func renew() {
        guard let watchedKey else {
            do throws(Exit) { return use(try .lent(options, waitingUpTo: .zero)) } catch {
                return keepOld(error.description)
            }
        }
        watchedKey.restart()
        lookForRotation()
    }

    /// Takes the next content of the key if there is one.
    private func lookForRotation() {
        guard let watchedKey else { return }
        do throws(Failure) {
            switch try watchedKey.look(poller, as: watchToken) {
            case .none: return
            case .rotated(let rotation):
                do throws(Exit) { use(try .handed(rotation.key, options)) } catch { keepOld(error.description) }
            case .ended(let error), .trouble(let error): keepOld("\(error)")
            }
        } catch { complain("the key is no longer watched: \(error)") }
    }

    /// Serves new connections with this key. Existing ones keep the one with which they began.
    private func use(_ next: Identity) {
        identity = next
        facts = Facts(options, runningAs, attempt, identity)
        StandardStream.output.writeLine("renewed: key \(options.key), decision \(identity.decision)")
    }

    private func keepOld(_ reason: String) { complain("keeps the old key and certificate: \(reason)") }
}
