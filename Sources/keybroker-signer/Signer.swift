// The process that signs: one thread and one loop.
//
// Must never wait for a client, open anything, or write down a key or a message. Must never sign without a permission of
// the daemon: each channel has one, and its clones have no more.

internal import Kernel
internal import SignerControl
internal import SigningKeys
internal import Wire

/// Serves the channels of one generation.
final class Signer {
    let poller: Poller
    /// Closes what clients sent. This thread closes nothing that was a client's.
    let closer: Closer
    private let control: SeqpacketSocket
    private let generation: UInt64
    /// How many ends there can be.
    private let room: Int
    private var channels: [UInt64: Channel] = [:]
    private var ends: [UInt64: ChannelEnd] = [:]
    /// How many of them each account has.
    private var endsOfAccounts: [UInt32: Int] = [:]
    private var lastToken = Signer.daemon
    private var keys = KeyTable()
    private var turns = Turns()
    /// What the daemon has not taken yet.
    private var reports: [SignerReport] = []
    private var isWaitingForDaemon = false
    var buffer = [UInt8](repeating: 0, count: ChannelRequest.longest)

    private static let daemon: UInt64 = 0
    static let daemonHasEnded: Int32 = 0, cannotBegin: Int32 = 78, systemFailed: Int32 = 71

    /// Runs in the process that signs.
    static func run(_ generation: UInt64) -> Never {
        ChildProcess.setName("keybroker-sign")
        // If this is not permitted, at least the secret numbers of keys are locked.
        _ = Privileges.lockMemory()
        do throws(Failure) {
            guard Libcrypto.prepare() else { ChildProcess.end(cannotBegin) }
            Sandbox.denyFiles()
            let signer = try Signer(generation)
            try Privileges.forbidMaking()
            try Sandbox.restrictToSigning()
            do throws(Failure) { try signer.serve() } catch { ChildProcess.end(systemFailed) }
        } catch { ChildProcess.end(cannotBegin) }
        ChildProcess.end(daemonHasEnded)
    }

    private init(_ generation: UInt64) throws(Failure) {
        self.generation = generation
        control = ChildProcess.takeEnd()
        // One for each end, and some that are on their way.
        room = min(Limits.channelEnds, try Privileges.raiseDescriptorLimit() - Limits.reservedDescriptors)
        poller = try Poller(capacity: 256)
        closer = try Closer()
        try poller.watch(control.descriptor, for: .reading, as: Self.daemon)
    }

    /// Returns when the daemon has ended. After each request it looks what the daemon says: a permission that is taken
    /// away ends at once.
    private func serve() throws(Failure) {
        reports = [.started(generation: generation)]
        try sendReports()
        while true {
            for event in try poller.wait(atMost: turns.isEmpty ? nil : .zero) {
                if event.token == Self.daemon {
                    guard try attendDaemon() else { return }
                } else if let end = ends[event.token] {
                    turns.add(end.token, of: end.channel.account)
                }
            }
            if let token = turns.next(), let end = ends[token], serve(end) {
                turns.add(token, of: end.channel.account)
            }
            if !reports.isEmpty {
                Libcrypto.forgetStack()
                try sendReports()
            }
        }
    }

    // MARK: The daemon

    /// Returns false if the daemon has ended.
    private func attendDaemon() throws(Failure) -> Bool {
        try sendReports()
        // What it does not take has to wait, and so has what it asks.
        guard reports.isEmpty else { return true }
        var packet = [UInt8](repeating: 0, count: SignerOrder.longest)
        while var arrival = try control.receiveArrival(into: &packet) {
            guard arrival.length > 0 else { return false }
            let order = SignerOrder(packet[..<min(arrival.length, packet.count)])
            switch order {
            case .open(let channel, generation):
                open(channel, key: arrival.first.take(), end: arrival.second.take())
            case .end(let number, generation):
                channels[number]?.ends.forEach(leave)
            default: break
            }
            try sendReports()
            guard reports.isEmpty else { break }
        }
        return true
    }

    private func open(_ new: NewChannel, key: consuming Descriptor?, end: consuming Descriptor?) {
        do throws(UnusableKey) {
            guard channels[new.number] == nil else { throw UnusableKey(description: "its number is in use") }
            guard hasRoom(for: new.account) else { throw UnusableKey(description: "there are too many channels") }
            guard let key, let end, SeqpacketSocket.isEnd(end) else {
                throw UnusableKey(description: "a descriptor is missing")
            }
            let channel = Channel(new, try keys.key(in: key))
            channels[new.number] = channel
            reports.append(.opened(channel: new.number))
            add(SeqpacketSocket(connected: end), to: channel)
        } catch { reports.append(.unusable(channel: new.number, reason: error.description)) }
        // Reading a key leaves parts of it there.
        Libcrypto.forgetStack()
    }

    /// Tells the daemon what it has not taken yet, as far as it takes it now.
    func sendReports() throws(Failure) {
        while let report = reports.first {
            do throws(Failure) { try control.send(report.bytes) } catch {
                switch error.code {
                case Failure.brokenPipe, Failure.connectionReset: return reports.removeAll()
                case Failure.wouldBlock: break
                default: guard error.isShortage else { throw error }
                }
                if !isWaitingForDaemon {
                    try poller.change(control.descriptor, to: .writing, as: Self.daemon)
                    isWaitingForDaemon = true
                }
                return
            }
            reports.removeFirst()
        }
        guard isWaitingForDaemon else { return }
        try poller.change(control.descriptor, to: .reading, as: Self.daemon)
        isWaitingForDaemon = false
    }

    // MARK: The ends of channels

    /// Makes the socket another end of the channel. If it takes no packet, it is none.
    func add(_ socket: consuming SeqpacketSocket, to channel: Channel) {
        lastToken += 1
        let end = ChannelEnd(socket, of: channel, token: lastToken)
        ends[end.token] = end
        endsOfAccounts[channel.account, default: 0] += 1
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
        let others = endsOfAccounts[channel.account, default: 1] - 1
        endsOfAccounts[channel.account] = others > 0 ? others : nil
        try? end.withSocket { (socket) throws(Failure) in try poller.forget(socket.descriptor) }
        if let socket = end.takeSocket() { closer.close(socket) }
        guard channel.ends.isEmpty else { return }
        channels.removeValue(forKey: channel.number)
        keys.giveBack(channel.key)
        reports.append(.ended(channel: channel.number, channel.counts))
    }

    /// Whether there can be one more end of the account's channels.
    func hasRoom(for account: UInt32) -> Bool {
        ends.count < room && endsOfAccounts[account, default: 0] < Limits.channelEndsPerUser
    }
}
