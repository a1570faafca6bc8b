// The answers on connections that watch keys: at first, at each rotation, and at the end.
//
// Each rotation is a grant of its own: it is decided again, opened again and recorded again. Must never hand out a key
// by the verdict of an earlier policy.

internal import Audit
package import Kernel
internal import Keys
internal import Policy
internal import PolicyLoading
internal import Wire

extension Broker {
    /// Looks at watched keys that may have changed, and returns watches that may have to be told something.
    package func dueWatches(now: Instant) -> ArraySlice<Watch> {
        if keys.takeFileChanges() { rotations.noteChange(now: now) }
        if keys.takeMountChanges() { rotations.noteMounts(now: now) }
        guard let due = rotations.nextDue, due <= now else { return [] }
        rotations.look(now: now) { name throws(TrustError) in
            guard let key = policy.policy.key(name) else { return nil }
            return try keys.look(at: key)
        }
        return rotations.takeDue(now: now)
    }

    /// What to tell the connection of a watch now.
    /// - Parameter hasRead: whether the client has read what it was told before. If not, only the end is told.
    /// - Throws: if the client cannot be identified under the policy in force. Its connection then has to end.
    package func renewal(
        of watch: Watch, from source: borrowing some PeerSource & ~Copyable, hasRead: Bool
    ) throws(Failure) -> Renewal {
        let now = Instant.now
        let client = watch.client
        defer { payForGroups(client, now) }
        if !client.isIdentified(under: policyNumber), try identify(client, from: source, now) != nil {
            return later(watch, now)
        }
        var record = Record(.request)
        (record.verb, record.key) = (.watch, watch.key.name.description)
        guard let caller = client.caller else { return .answer(end(watch, .noRule, record)) }
        switch policy.policy.verdict(on: watch.key.name, for: caller) {
        case .denied(let denial): return .answer(end(watch, denial.reason, record))
        case .permitted(let key, let rule):
            guard watch.told != watch.key.generation else { return .nothing }
            guard hasRead else { return later(watch, now) }
            do throws(Failure) {
                if try source.peerIsRunning() == false {
                    _ = ledger.stage(ended(watch, .unavailable, .callerEnded, record), of: watch.key.name)
                    return .leave
                }
            } catch { return later(watch, now) }
            record.rule = rule.location.description
            do throws(TrustError) {
                let files = try keys.handOut(key)
                guard rotations.mayHandOut(Content(of: files), of: watch.key, now: now) else { return .nothing }
                return .answer(
                    grant(files, of: watch.key.name, record, client, isWatch: true, begun: watch))
            } catch {
                // The key was there a moment ago. It will be looked at again.
                return later(watch, now)
            }
        }
    }

    private func later(_ watch: Watch, _ now: Instant) -> Renewal {
        rotations.postpone(watch, now: now)
        return .nothing
    }

    /// Notes that the connection was sent a rotation.
    package func noteTold(_ watch: Watch, _ generation: UInt64, on number: UInt64) {
        rotations.noteTold(watch, generation, on: number, now: .now)
    }

    /// Keeps a watch that could not be told for a later try.
    package func postpone(_ watch: Watch) { rotations.postpone(watch, now: .now) }

    /// Ends a watch, because its connection ends.
    package func end(_ watch: Watch) { rotations.end(watch) }

    /// How many watches a client may have.
    func mostWatches(of client: Client) -> Int { client.bounds?.watches ?? capacity.watchesPerUser }

    /// The answer that ends a watch.
    private func end(_ watch: Watch, _ reason: Reason, _ request: Record) -> Answer {
        let record = ended(watch, .denied, reason, request)
        return Answer(
            .watchEnded(decision: ledger.stage(record, of: watch.key.name), reason: reason.rawValue), isLast: true)
    }

    /// The record of the end of a watch. It is never folded or lost, so that the log tells until when each key was watched.
    private func ended(_ watch: Watch, _ decision: Record.Decision, _ reason: Reason, _ request: Record) -> Record {
        var record = complete(request, watch.client)
        record.decision = decision
        record.reason = reason
        record.detail =
            reason == .callerEnded
            ? "the watch has ended: the process that asked for it has ended" : "the watch has ended"
        record.endsWatch = true
        return record
    }
}

/// What to do about a watch that is due.
package enum Renewal {
    case nothing
    case answer(Answer)
    /// End its connection: the process that asked for the watch has ended, and whoever else has the connection never did.
    case leave
}
