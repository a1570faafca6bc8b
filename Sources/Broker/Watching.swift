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
    package func dueWatches() -> ArraySlice<Watch> {
        let now = Instant.now
        if keys.takeFileChanges() { rotations.noteChange(now: now) }
        guard let due = rotations.nextDue, due <= now else { return [] }
        rotations.look(now: now) { name throws(TrustError) in
            guard let key = policy.policy.keys[name] else { return nil }
            return try keys.look(at: key)
        }
        return rotations.takeDue(now: now)
    }

    /// What to tell the connection of a watch now, or nil if there is nothing to tell.
    /// - Parameter hasRead: whether the client has read what it was told before. If not, only the end is told.
    /// - Throws: if the client cannot be identified under the policy in force. Its connection then has to end.
    package func renewal(
        of watch: Watch, from source: borrowing some PeerSource & ~Copyable, hasRead: Bool
    ) throws(Failure) -> Answer? {
        let now = Instant.now
        let client = watch.client
        defer { payForGroups(client, now) }
        if !client.isIdentified(under: policyNumber), try identify(client, from: source, now) != nil {
            rotations.postpone(watch, now: now)
            return nil
        }
        var record = Record(.request)
        (record.verb, record.key) = (.watch, watch.key.name.description)
        guard let caller = client.caller else { return end(watch, .noRule, record) }
        switch policy.policy.verdict(on: watch.key.name, for: caller) {
        case .denied(let denial): return end(watch, denial.reason, record)
        case .permitted(let key, let rule):
            guard watch.told != watch.key.generation else { return nil }
            guard hasRead else {
                rotations.postpone(watch, now: now)
                return nil
            }
            record.rule = rule.location.description
            do throws(TrustError) {
                return grant(try keys.handOut(key), of: watch.key.name, record, client, isWatch: true, begun: watch)
            } catch {
                // The key was there a moment ago. It will be looked at again.
                rotations.postpone(watch, now: now)
                return nil
            }
        }
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

    /// The answer that ends a watch. Its record is never folded, so that the log tells until when each key was watched.
    private func end(_ watch: Watch, _ reason: Reason, _ request: Record) -> Answer {
        var record = complete(request, watch.client)
        record.decision = .denied
        record.reason = reason
        record.detail = "the watch has ended"
        return Answer(.watchEnded(decision: ledger.stage(record), reason: reason.rawValue), isLast: true)
    }
}
