// Counts the decisions since the daemon started, for the status.
//
// It counts what the log says, including folded events, and subtracts what a correction takes back. Must never count a
// decision whose record is not in the log, nor grow with the number of names that callers ask for.

internal import Audit
internal import Wire

/// Counts of decisions, of reasons and of keys.
struct Tally {
    /// The possible results of requests for one key.
    struct Counts {
        var granted: UInt64 = 0, denied: UInt64 = 0, unavailable: UInt64 = 0, busy: UInt64 = 0

        fileprivate mutating func count(_ decision: Record.Decision) {
            switch decision {
            case .granted: granted += 1
            case .denied: denied += 1
            case .unavailable: unavailable += 1
            case .busy: busy += 1
            case .malformed, .applied, .rejected: break
            }
        }
    }

    /// A decision and its reason. All values come from fixed sets, so there is a bounded number of outcomes.
    struct Outcome: Hashable {
        /// Nil if no request could be read.
        let verb: Record.Verb?
        let decision: Record.Decision
        let reason: Reason

        /// All three come from few values, which differ in length. Hashing their whole texts would cost more than it saves.
        func hash(into hasher: inout Hasher) {
            let verb = verb?.rawValue.utf8.count ?? 0
            hasher.combine(verb << 16 | decision.rawValue.utf8.count << 8 | reason.rawValue.utf8.count)
        }

        fileprivate static func granted(_ verb: Record.Verb?) -> Outcome {
            Outcome(verb: verb, decision: .granted, reason: .permitted)
        }
    }

    private struct Noted {
        let outcome: Outcome
        let key: KeyName?
        /// True if it says that a grant was not delivered.
        let isCorrection: Bool
        /// True if it answers nobody, or is staged until it is written.
        let isOwed: Bool
        /// How many events it stands for.
        let times: UInt64
    }

    private(set) var outcomes: [Outcome: UInt64] = [:]
    private(set) var keys: [KeyName: Counts] = [:]
    private var toSweep = Sweep()
    /// The names of `keys`, sorted, for pages of a status: a key is counted for the first time only once. Some may have no
    /// counts any more.
    private var sorted: [KeyName]?
    /// Decisions of this turn: `waiting` is not committed yet, `settled` is not counted yet.
    private var waiting: [Noted] = [], settled: [Noted] = []

    mutating func note(_ record: Record, _ key: KeyName?, times: Int = 1) {
        guard let decision = record.decision, let reason = record.reason else { return }
        let outcome = Outcome(verb: record.verb, decision: decision, reason: reason)
        waiting.append(
            Noted(
                outcome: outcome, key: key, isCorrection: record.of != nil,
                isOwed: record.isOwed || record.peer == nil, times: UInt64(clamping: times)))
    }

    /// Marks what was noted as written to the log.
    mutating func commit() {
        settled += waiting
        waiting.removeAll(keepingCapacity: true)
    }

    /// Counts what was committed or withdrawn.
    mutating func count() {
        for noted in settled {
            outcomes[noted.outcome, default: 0] += noted.times
            if let key = noted.key {
                let known = keys.count
                keys[key, default: Counts()].count(noted.outcome.decision)
                if keys.count != known { sorted = nil }
            }
            if noted.isCorrection { takeBack(.granted(noted.outcome.verb), noted.key) }
        }
        settled.removeAll(keepingCapacity: true)
    }

    /// Subtracts a grant. A grant is always counted before its correction, but a reload in between may have removed the
    /// key's counts.
    private mutating func takeBack(_ grant: Outcome, _ key: KeyName?) {
        if let count = outcomes[grant], count > 0 { outcomes[grant] = count - 1 }
        if let key, let count = keys[key]?.granted, count > 0 { keys[key]?.granted = count - 1 }
    }

    /// Marks what was noted as unavailable, because it could not be recorded and it was answered so. What is owed
    /// to the log is left out: it is noted again when it is staged again.
    mutating func withdraw() {
        settled += waiting.filter { !$0.isOwed }.map { noted in
            let outcome = Outcome(verb: noted.outcome.verb, decision: .unavailable, reason: .auditUnavailable)
            return Noted(outcome: outcome, key: noted.key, isCorrection: false, isOwed: false, times: noted.times)
        }
        waiting.removeAll(keepingCapacity: true)
    }

    /// A new policy is in force: the keys that are not in it have to be forgotten.
    mutating func beginSweep() { toSweep.begin(keys.keys) }

    /// Whether all of them are forgotten.
    var isSwept: Bool { toSweep.isDone }

    /// Forgets some of them.
    mutating func sweep(butNot isKept: (KeyName) -> Bool) {
        for name in toSweep.take() where !isKept(name) { keys[name] = nil }
    }

    /// The keys that are counted and come after `last`, sorted.
    mutating func names(after last: KeyName?) -> ArraySlice<KeyName> {
        let names = sorted ?? keys.keys.sorted()
        sorted = names
        guard let last else { return names[...] }
        var (low, high) = (0, names.count)
        while low < high {
            let middle = (low + high) / 2
            if last < names[middle] { high = middle } else { low = middle + 1 }
        }
        return names[low...]
    }
}
