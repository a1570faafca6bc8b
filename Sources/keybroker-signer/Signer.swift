// The process that signs: two loops of the same kind, each in a thread.
//
// The first one takes the orders of the daemon, and signs where that takes little time. The second one reads the keys, and
// signs with the slow ones, so that nobody waits for those who has another kind. Must never wait for a client, open anything,
// or write down a key or a message. Must never sign without a permission of the daemon: each channel has one, and its clones
// have no more.

internal import Kernel
internal import SignerControl
internal import SigningKeys
internal import Wire

/// One loop, which serves channels of one generation.
final class Signer {
    let poller: Poller
    let shared: Shared
    let control: ControlEnd
    let generation: UInt64
    /// Nil in the second loop itself.
    let second: SecondLoop?
    var channels: [UInt64: Channel] = [:]
    private var ends: [UInt64: ChannelEnd] = [:]
    private var lastToken = Token.orders
    var keys = KeyTable()
    private var turns = Turns()
    /// What the daemon has not taken yet.
    var reports: [SignerReport] = []
    /// Whether the poller tells when the daemon takes reports again, and not when it says something.
    var isWaitingForDaemon = false
    var buffer = [UInt8](repeating: 0, count: ChannelRequest.longest)

    /// A channel has ended since what libcrypto left on this thread's stack was overwritten.
    var hasEndedChannel = false

    /// `other` tells that the second loop has said something, `orders` that one of the two has heard the daemon.
    enum Token { static let daemon: UInt64 = 0, other: UInt64 = 1, orders: UInt64 = 2 }

    static let daemonHasEnded: Int32 = 0, cannotBegin: Int32 = 78, systemFailed: Int32 = 71

    /// Runs in the process that signs.
    static func run(_ generation: UInt64) -> Never {
        ChildProcess.setName("keybroker-sign")
        // If this is not permitted, at least the secret numbers of keys are locked.
        _ = Privileges.lockMemory()
        do throws(Failure) {
            guard Libcrypto.prepare() else { ChildProcess.end(cannotBegin) }
            Sandbox.denyFiles()
            try ChildProcess.goOnInNewThread(isOpener: false) { serve(generation) }
        } catch { ChildProcess.end(cannotBegin) }
    }

    private static func serve(_ generation: UInt64) -> Never {
        do throws(Failure) {
            let control = ControlEnd(ChildProcess.takeEnd())
            let shared = try Shared(generation, control)
            let poller = try Poller(capacity: 256)
            let second = try SecondLoop(generation, shared, watchedBy: poller, as: Token.other)
            let signer = try Signer(generation, control, shared, poller, second)
            // For both threads.
            try Privileges.forbidMaking()
            try Sandbox.restrictToSigning()
            do throws(Failure) { try signer.serve() } catch { ChildProcess.end(systemFailed) }
        } catch { ChildProcess.end(cannotBegin) }
        ChildProcess.end(daemonHasEnded)
    }

    /// The second loop, for which the first one is the daemon.
    convenience init(_ generation: UInt64, _ control: ControlEnd, _ shared: Shared) throws(Failure) {
        try self.init(generation, control, shared, Poller(capacity: 256), nil)
    }

    private init(
        _ generation: UInt64, _ control: ControlEnd, _ shared: Shared, _ poller: Poller, _ second: SecondLoop?
    ) throws(Failure) {
        (self.generation, self.control, self.shared, self.poller, self.second) = (
            generation, control, shared, poller, second
        )
        try poller.watch(control.socket.descriptor, for: .reading, as: Token.daemon)
        try shared.orders.register(loop, with: poller, as: Token.orders)
    }

    var isSecond: Bool { second == nil }
    var loop: Orders.Loop { isSecond ? .second : .first }

    /// Returns when the daemon has ended.
    func serve() throws(Failure) {
        reports = [.started(generation: generation)]
        try sendReports()
        while true {
            for event in try poller.wait(atMost: hasWork ? .zero : nil) {
                switch event.token {
                case Token.daemon: guard try attendDaemon() else { return }
                case Token.other: if let second { try attend(second) }
                case Token.orders: shared.orders.silence(loop)
                default: if let end = ends[event.token] { turns.add(end.token, of: end.channel.account) }
                }
            }
            obey()
            if let token = turns.next(), let end = ends[token], serve(end) {
                turns.add(token, of: end.channel.account)
            }
            if hasEndedChannel {
                Libcrypto.forgetStack()
                hasEndedChannel = false
            }
            if !reports.isEmpty { try sendReports() }
        }
    }

    private var hasWork: Bool { !turns.isEmpty || isSecond && shared.orders.haveOpening }

    // MARK: The ends of channels

    /// Makes the socket another end of the channel. If it takes no packet, it is none.
    func add(_ socket: consuming SeqpacketSocket, at place: consuming Place, to channel: Channel) {
        lastToken += 1
        // It fails for no socket of this kind. If it did, what was sent on it would be closed here.
        try? socket.expectDescriptors()
        let end = ChannelEnd(socket, at: place, of: channel, token: lastToken)
        ends[end.token] = end
        channel.ends.insert(end.token)
        do throws(Failure) {
            try end.withSocket { (socket) throws(Failure) in
                try poller.watch(socket.descriptor, for: .arrivals, as: end.token)
            }
            try send(channel.hello, on: end)
        } catch { leave(end.token) }
    }

    /// Closes an end, and with the last one the channel.
    func leave(_ token: UInt64) {
        guard let end = ends.removeValue(forKey: token) else { return }
        let channel = end.channel
        channel.ends.remove(token)
        try? end.withSocket { (socket) throws(Failure) in try poller.forget(socket.descriptor) }
        if let socket = end.takeSocket() { shared.closer.close(socket, of: channel.account) }
        guard channel.ends.isEmpty else { return }
        channels.removeValue(forKey: channel.number)
        shared.orders.forget(channel.number)
        keys.giveBack(channel.key)
        hasEndedChannel = true
        reports.append(.ended(channel: channel.number, channel.counts))
    }
}
