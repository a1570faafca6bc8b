// All signing channels, and what the signer says of them.
//
// Must never take the signer's word for anything but what it was asked: it reads what clients send.

internal import Kernel
internal import SignerControl
internal import Wire

/// What there is of the process that signs, in the words of the status.
enum SignerState: String {
    /// It was never started.
    case none
    case starting, running
    /// It has ended for ever.
    case ended
}

/// The channels, and the process that signs on them.
final class Channels {
    /// Nil if there is none.
    private let signer: SignerProcess?
    /// Those that the signer was asked for, and those that it has opened.
    private(set) var waiting: [UInt64: Channel] = [:], open: [UInt64: Channel] = [:]
    /// Those whose callers can be answered.
    private var settled: [Channel] = []
    /// Their numbers are greater than those of connections, so that a list of holders can have both.
    private var lastNumber: UInt64 = 1 << 48
    private var hadSigner = false
    /// When the signer was heard last.
    private var heardAt = Instant.boot

    init(_ signer: SignerProcess?) { self.signer = signer }

    var count: Int { open.count }
    /// How many of them belong to callers whom only a group makes known.
    var ofGroups: Int { open.values.count { $0.client.isOneOfMany } + waiting.values.count { $0.client.isOneOfMany } }
    var total: Int { open.count + waiting.count }

    var signerState: SignerState {
        guard let signer else { return .none }
        return signer.isReady ? .running : signer.isRunning ? .starting : .ended
    }

    func nextNumber() -> UInt64 {
        lastNumber += 1
        return lastNumber
    }

    /// Asks the signer for the channel. Returns false if it cannot be asked now. Both descriptors are closed here.
    /// - Parameter account: what all channels with which the signer shares its time.
    func ask(
        for channel: Channel, account: UInt32, key: consuming Descriptor, end: consuming SeqpacketSocket
    ) -> Bool {
        let new = NewChannel(
            number: channel.number, account: account, rate: channel.terms.rate ?? 0, uses: channel.terms.uses)
        guard let signer, signer.open(new, key: key, end: end) else { return false }
        waiting[channel.number] = channel
        return true
    }

    /// Has the signer end a channel. The first reason is the one that counts.
    func end(_ channel: Channel, _ reason: Reason) {
        guard channel.endReason == nil else { return }
        channel.endReason = reason
        signer?.end(channel.number)
    }

    /// Whether the signer serves the channel, and goes on doing so.
    func isOpen(_ channel: Channel) -> Bool { open[channel.number] != nil && channel.endReason == nil }

    /// There is nobody any more who waits for the channel.
    func abandon(_ channel: Channel) {
        channel.giveUp()
        if waiting.removeValue(forKey: channel.number) != nil { signer?.end(channel.number) }
    }

    /// The caller of a channel that was not opened yet has to ask again.
    func lose(_ channel: Channel, _ why: String) {
        guard waiting.removeValue(forKey: channel.number) != nil else { return }
        signer?.end(channel.number)
        settle(channel, .lost(why))
    }

    private func settle(_ channel: Channel, _ result: Channel.Result) {
        channel.result = result
        settled.append(channel)
    }

    /// Reads what the signer has said, and returns the channels that have ended, with what they were used for. That is nil
    /// if the signer has ended.
    func hear(now: Instant) -> [(channel: Channel, counts: ChannelCounts?)] {
        heardAt = now
        var ended: [(channel: Channel, counts: ChannelCounts?)] = []
        while let report = signer?.next() {
            switch report {
            case .started:
                // The first one has nothing to end.
                if hadSigner { ended += lostSigner() }
                hadSigner = true
            case .opened(let number):
                guard let channel = waiting.removeValue(forKey: number) else { continue }
                open[number] = channel
                settle(channel, .opened)
            case .unusable(let number, let reason):
                if let channel = waiting.removeValue(forKey: number) { settle(channel, .unusable(reason)) }
            case .ended(let number, let counts):
                if let channel = open.removeValue(forKey: number) { ended.append((channel, counts)) }
            }
        }
        if signerState == .ended, total > 0 { ended += lostSigner() }
        for channel in waiting.values where channel.until <= now { lose(channel, "the signer did not answer") }
        return ended
    }

    private func lostSigner() -> [(channel: Channel, counts: ChannelCounts?)] {
        let ended: [(channel: Channel, counts: ChannelCounts?)] = open.values.map { channel in
            channel.endReason = .signerEnded
            return (channel, nil)
        }
        open = [:]
        for channel in Array(waiting.values) { lose(channel, "the signer has ended") }
        return ended
    }

    /// The channels whose callers can be answered now.
    func takeSettled() -> [Channel] {
        defer { settled = [] }
        return settled
    }

    var hasSettled: Bool { !settled.isEmpty }

    /// When `hear` has something to do by the clock, or nil if it has nothing.
    var nextDue: Instant? {
        if !settled.isEmpty { return .boot }
        let untold = signer?.hasUntold == true ? heardAt.after(Limits.signerLook) : nil
        return .earlier(untold, waiting.values.map(\.until).min())
    }
}
