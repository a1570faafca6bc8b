// The answer to a request for a signing channel, and the end of channels.
//
// The daemon decides, opens the key and passes it to the signer; the caller gets the other end of the channel when the grant
// is in the log. Must never open a channel for more than the policy in force permits, nor leave one open that it does
// not permit any more.

internal import Audit
package import Kernel
internal import Keys
internal import Policy
internal import PolicyLoading
internal import Wire

extension Broker {
    /// Decides, and asks the signer for the channel. `answer(for:)` is the answer if it could be asked.
    func channel(_ name: KeyName, _ request: consuming Record, _ client: Client, _ now: Instant) -> Decided {
        var record = request
        guard let caller = client.caller else { return .answer(deny(.noRule, record, client)) }
        switch policy.policy.signingVerdict(on: name, for: caller) {
        case .denied(let denial): return .answer(deny(denial.reason, record, client))
        case .permitted(let key, let uses, let rule):
            record.rule = rule.location.description
            record.uses = uses
            if let refused = refusal(of: client, record, now) { return .answer(refused) }
            return ask(for: key, ChannelTerms(uses: uses, rate: client.bounds?.signatures), record, client, now)
        }
    }

    /// Opens the key for the signer.
    private func ask(
        for key: Key, _ terms: ChannelTerms, _ record: Record, _ client: Client, _ now: Instant
    ) -> Decided {
        do throws(TrustError) {
            var files = try keys.handOutHere(key)
            guard let file = files.takeKey() else { throw TrustError(.late, "the file is not open yet") }
            var pair = try Self.pair()
            guard let ours = pair.first.take(), let theirs = pair.second.take() else {
                return .answer(signerIsAway(record, client))
            }
            let channel = Channel(
                channels.nextNumber(), client, rotations.key(key.name, with: Content(of: files), now: now), terms,
                record, files, end: ours.intoDescriptor())
            guard channels.ask(for: channel, account: allowance.number(of: client.account), key: file, end: theirs)
            else { return .answer(signerIsAway(record, client)) }
            countGrant(to: client, now)
            return .later(channel)
        } catch { return .answer(notHandedOver(error, record, client)) }
    }

    private static func pair() throws(TrustError) -> SeqpacketSocket.Pair {
        do { return try SeqpacketSocket.pair() } catch { throw TrustError(.shortage, error.description) }
    }

    /// The answer if a limit is reached, or there is no signer.
    private func refusal(of client: Client, _ record: Record, _ now: Instant) -> Answer? {
        if let refused = limitOfGrants(to: client, record, now, isWatch: false) { return refused }
        let isFull =
            channels.total >= Limits.channels
            || client.account.channels >= client.bounds?.channels ?? Limits.channelsPerUser
            || client.isOneOfMany && channels.ofGroups >= Limits.channels / 2
        if isFull { return busy(.limitChannels, for: Limits.busy, record, client) }
        return channels.signerState == .running ? nil : signerIsAway(record, client)
    }

    private func signerIsAway(_ request: Record, _ client: Client) -> Answer {
        var record = request
        switch channels.signerState {
        case .none: record.detail = "keybroker-signer is not installed"
        case .ended: record.detail = "the signer has ended; type: \(restart)"
        case .starting, .running:
            record.detail = "the signer is starting, or has too much to do"
            return busy(.signerUnavailable, for: Limits.busy, record, client)
        }
        return unavailable(.signerUnavailable, record, client)
    }

    // MARK: What the signer says

    /// Reads what the signer has said, records the end of channels, and returns those whose callers can be answered.
    package func hearSigner(now: Instant) -> [Channel] {
        for (channel, counts) in channels.hear(now: now) { stageEnd(of: channel, counts) }
        return channels.takeSettled()
    }

    /// Whether `hearSigner` has something to do though the signer has said nothing.
    package func isDueToHearSigner(_ now: Instant) -> Bool { channels.nextDue.map { $0 <= now } ?? false }

    /// The answer for whom a channel was asked. It counts only after `commit` has returned.
    package func answer(for channel: Channel) -> Answer {
        let client = channel.client
        var record = channel.request
        switch channel.result {
        case .opened where channels.isOpen(channel):
            record.decision = .granted
            record.reason = .permitted
            (record.file, record.certificate) = (channel.file, channel.certificateFile)
            record.generation = channel.generation
            let recorded = ledger.staged(complete(record, client), of: channel.key.name)
            channel.grant = recorded
            rotations.begin(channel, now: .now)
            return Answer(granted: recorded, channel)
        case .unusable(let reason):
            channel.giveUp()
            record.detail = reason
            return unavailable(.keyUnusable, record, client)
        case .opened, .lost, nil:
            channel.giveUp()
            if case .lost(let why) = channel.result { record.detail = why }
            return busy(.signerUnavailable, for: Limits.busy, record, client)
        }
    }

    /// Nobody waits for the channel any more.
    package func abandon(_ channel: Channel) { channels.abandon(channel) }

    // MARK: The end of channels

    /// A new policy is in force. It is asked about each caller as that was known when it got the channel: if only another
    /// group or unit would permit it now, it has to ask anew.
    func judgeChannels() {
        for channel in channels.open.values {
            guard let caller = channel.client.caller else { continue }
            switch policy.policy.signingVerdict(on: channel.key.name, for: caller) {
            case .denied(let denial): channels.end(channel, denial.reason)
            case .permitted(_, let uses, _):
                let terms = ChannelTerms(uses: uses, rate: channel.client.bounds(under: policy.policy)?.signatures)
                if terms != channel.terms { channels.end(channel, .permissionChanged) }
            }
        }
        // These come after the others, who sign meanwhile.
        for channel in channels.waiting.values { channels.lose(channel, "the policy was read anew meanwhile") }
    }

    /// The daemon ends, and with it all channels.
    package func endChannels() {
        for channel in channels.open.values { channels.end(channel, .brokerStopped) }
    }

    /// Whether a channel is open whose end is not recorded yet.
    package var hasChannels: Bool { channels.count > 0 }
    /// Whether somebody waits for a channel.
    package var isAskingSigner: Bool { !channels.waiting.isEmpty || channels.hasSettled }

    /// Records the end of a channel. Nothing was granted if the caller was never given its end.
    private func stageEnd(of channel: Channel, _ counts: ChannelCounts?) {
        rotations.end(channel)
        allowance.noteEndOfChannel(now: .now)
        guard let grant = channel.grant else { return }
        var record = grant.record
        record.event = .channel
        record.decision = nil
        record.reason = channel.endReason ?? .channelClosed
        record.of = grant.number
        record.counts = counts
        (record.file, record.certificate, record.rule, record.uses, record.generation) = (nil, nil, nil, nil, nil)
        record.policy = digest
        _ = ledger.stage(record, of: channel.key.name)
    }
}
