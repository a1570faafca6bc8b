// The loop of the demo server: listeners, visitors, signals, on one thread.
//
// Must never wait for one client while another could be served, nor end for what a client did.

internal import Kernel
internal import TLS

final class Server {
    private let options: Options
    private var identity: Identity
    private var facts: Facts
    private let listeners: [Listener]
    private let signals: Signals
    private let poller: Poller
    private var visitors: [UInt64: Visitor] = [:]
    private var lastNumber: UInt64 = 1_000
    private var acceptAgain: Instant?
    private var isAccepting = true
    /// When the end comes even for those that are still served.
    private var end: Instant?

    /// A listener that can be in a list.
    private final class Listener {
        let listener: StreamListener
        init(_ listener: consuming StreamListener) { self.listener = listener }
    }

    private static let signalsToken: UInt64 = 0
    private static let endMilliseconds = 5_000

    init(_ options: Options, _ identity: Identity, _ signals: consuming Signals) throws(Exit) {
        self.options = options
        self.identity = identity
        facts = Facts(options, identity)
        var listeners: [Listener] = []
        for address in options.addresses {
            do throws(StreamListener.Refusal) { listeners.append(Listener(try StreamListener(address))) } catch {
                for listener in listeners { listener.listener.removeSocket() }
                throw Exit(status: 71, description: error.description)
            }
        }
        self.listeners = listeners
        self.signals = signals
        do throws(Failure) { poller = try Poller(capacity: options.maxConnections + listeners.count + 1) } catch {
            throw Exit(status: 71, description: error.description)
        }
    }

    /// Serves until a signal ends it.
    func run() throws(Failure) {
        try poller.watch(signals.descriptor, for: .reading, as: Self.signalsToken)
        for (index, listener) in listeners.enumerated() {
            try poller.watch(listener.listener.descriptor, for: .reading, as: UInt64(index + 1))
            StandardStream.output.writeLine("listening on \(listener.listener.address.url)")
        }
        StandardStream.output.writeLine(
            "ready: key \(options.key), decision \(identity.decision), uid \(Privileges.effectiveUID)")
        while !isOver {
            for event in try poller.wait(milliseconds: untilNextChore()) { attend(to: event) }
            chores()
        }
        for visitor in visitors.values { drop(visitor) }
    }

    private var isOver: Bool {
        guard let end else { return false }
        return visitors.isEmpty || Instant.now >= end
    }

    private func attend(to event: Poller.Event) {
        if event.token == Self.signalsToken {
            while let signal = signals.next() { obey(signal) }
        } else if event.token <= UInt64(listeners.count) {
            accept(listeners[Int(event.token) - 1])
        } else if let visitor = visitors[event.token] {
            proceed(visitor)
        }
    }

    // MARK: Visitors

    private func accept(_ listener: Listener) {
        while isAccepting {
            do throws(Failure) {
                guard let socket = try listener.listener.accept() else { return }
                welcome(socket)
            } catch {
                // Too many files are open, by this program or the system: those that leave make room.
                pauseAccepting()
            }
        }
    }

    private func welcome(_ socket: consuming Descriptor) {
        guard let stream = try? TLSStream.serving(socket, context: identity.context) else { return }
        lastNumber += 1
        let visitor = Visitor(number: lastNumber, stream: stream, facts: facts, idleSeconds: options.idleSeconds)
        do throws(Failure) { try poller.watch(visitor.stream.socket, for: .reading, as: visitor.number) } catch {
            return
        }
        visitors[visitor.number] = visitor
        if visitors.count >= options.maxConnections { setAccepting(false) }
        proceed(visitor)
    }

    private func proceed(_ visitor: Visitor) {
        let interest: Poller.Interest
        switch visitor.proceed() {
        case .end: return drop(visitor)
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
        visitors[visitor.number] = nil
        if end == nil, acceptAgain == nil { setAccepting(true) }
    }

    // MARK: What is due

    private func untilNextChore() -> Int? {
        let dues = visitors.values.map(\.deadline) + [acceptAgain, end].compactMap(\.self)
        return dues.min().map { Instant.now.milliseconds(until: $0) }
    }

    private func chores() {
        let now = Instant.now
        for visitor in Array(visitors.values) where visitor.deadline <= now { drop(visitor) }
        if let again = acceptAgain, again <= now {
            acceptAgain = nil
            setAccepting(end == nil)
        }
    }

    private func pauseAccepting() {
        acceptAgain = Instant.now.after(milliseconds: 250)
        setAccepting(false)
    }

    private func setAccepting(_ isAccepting: Bool) {
        guard isAccepting != self.isAccepting else { return }
        self.isAccepting = isAccepting
        for (index, listener) in listeners.enumerated() {
            try? poller.change(
                listener.listener.descriptor, to: isAccepting ? .reading : .hangUp, as: UInt64(index + 1))
        }
    }

    // MARK: Signals

    private func obey(_ signal: Signals.Arrived) {
        switch signal {
        case .reload: renew()
        case .stop:
            setAccepting(false)
            for listener in listeners { listener.listener.removeSocket() }
            end = Instant.now.after(milliseconds: Self.endMilliseconds)
            for visitor in Array(visitors.values) {
                visitor.endSoon()
                if visitor.isIdle { goodbye(visitor) }
            }
        }
    }

    private func goodbye(_ visitor: Visitor) {
        visitor.sayGoodbye()
        drop(visitor)
    }

    /// Asks for the key anew; those who are connected keep what they began with.
    private func renew() {
        do throws(Exit) {
            identity = try Identity(options)
            facts = Facts(options, identity)
            StandardStream.output.writeLine("renewed: key \(options.key), decision \(identity.decision)")
        } catch { StandardStream.error.writeLine("keybroker-tls-demo: keeps the old key: \(error.description)") }
    }
}
