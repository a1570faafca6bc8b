// How often what was decided, since the daemon started: for the status.
//
// Counts what the log says, folded events included. Must never count a decision whose record is not in the
// log, nor grow with what callers ask for.

internal import Audit
internal import Wire

/// Counts of decisions, of reasons and of keys.
struct Tally {
    /// What can come of a request for a key.
    struct Counts {
        var granted: UInt64 = 0, denied: UInt64 = 0, unavailable: UInt64 = 0, busy: UInt64 = 0

        fileprivate mutating func count(_ decision: Record.Decision) {
            switch decision {
            case .granted: granted += 1
            case .denied: denied += 1
            case .unavailable: unavailable += 1
            case .busy: busy += 1
            case .malformed, .revoked, .applied, .rejected: break
            }
        }
    }

    /// What was decided and why. All are words of fixed sets.
    struct Outcome: Hashable {
        /// Nil where it did not come to a request.
        let verb: Record.Verb?
        let decision: Record.Decision
        let reason: String
    }

    private(set) var outcomes: [Outcome: UInt64] = [:]
    private(set) var keys: [KeyName: Counts] = [:]
    /// Those of this turn.
    private var waiting: [(outcome: Outcome, key: KeyName?)] = []

    mutating func note(_ record: Record, _ key: KeyName?) {
        guard let decision = record.decision, let reason = record.reason else { return }
        waiting.append((Outcome(verb: record.verb, decision: decision, reason: reason), key))
    }

    /// What was noted is in the log.
    mutating func commit() {
        for (outcome, key) in waiting {
            outcomes[outcome, default: 0] += 1
            if let key { keys[key, default: Counts()].count(outcome.decision) }
        }
        waiting.removeAll(keepingCapacity: true)
    }

    /// What was noted could not be recorded: all of it was answered as unavailable.
    mutating func withdraw() {
        waiting = waiting.map {
            (Outcome(verb: $0.outcome.verb, decision: .unavailable, reason: Reason.auditUnavailable), $0.key)
        }
        commit()
    }

    /// Forgets keys that are no longer in the policy.
    mutating func keep(only names: some Collection<KeyName>) {
        let known = Set(names)
        keys = keys.filter { known.contains($0.key) }
    }
}
