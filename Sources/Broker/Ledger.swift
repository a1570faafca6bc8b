// The ledger: what was decided and is not yet in the log, in one place, with one commit and one undo.
//
// No record, no key: an answer counts once `commit` has returned, and where the log could not be written it is
// withdrawn before that. Must never let an answer go out whose record is not in the log, nor fold a grant or a
// correction.

package import Audit
package import Kernel
internal import Wire

/// A record that has its number: it counts once it is in the log.
package struct Recorded: Sendable {
    package let number: UInt64
    package let record: Record
}

/// A time in which the log could not be written.
private struct Outage {
    let since: WallTime
    var failure: Failure
    /// How many answers were withdrawn.
    var withdrawn = 0
}

/// How a commit went.
package enum Committed {
    /// What is in the log now, but for the folded: nobody asked for those.
    case written([Recorded])
    case failed(Failure)
    case recovered([Recorded], withdrawn: Int)
    /// As the commit before, which said so.
    case failedAgain(Failure)
}

/// Owns the log, the counts for the status, what is folded, and whether the log can be written.
final class Ledger {
    private let log: any RecordLog
    private(set) var tally = Tally()
    private var folding = Folding()
    private var staged: [(recorded: Recorded, key: KeyName?)] = []
    private var outage: Outage?
    /// Corrections that the log did not take: the grants that they take back are in it, so they are staged again.
    private var owed: [(record: Record, key: KeyName?)] = []
    /// While the log cannot be written: when it is tried again for what nobody waits for.
    private var retryAt = Instant.boot

    init(_ log: any RecordLog) { self.log = log }

    var path: String { log.path }
    var recovery: String? { log.recovery }
    var lastNumber: UInt64 { log.lastNumber }
    var head: String { log.head }
    var isWritten: Bool { outage == nil }

    // MARK: Staging

    /// Stages a record of its own and returns its number: for grants, corrections and the daemon's own events.
    /// - Parameter key: for the counts; nil where there is no such key, so that nobody can make the daemon remember
    ///   names.
    func stage(_ record: Record, of key: KeyName? = nil) -> UInt64 {
        tally.note(record, key)
        return add(record, key)
    }

    /// Stages a refusal or a query, or counts it where one caller, or all strangers together, make many. Returns the
    /// number that the caller is told.
    /// - Parameter crowd: which one the caller is of; nil if a line names its uid, or if it is an administrator's.
    func stageFoldable(_ record: Record, of key: KeyName?, in crowd: Folding.Crowd?, now: Instant) -> UInt64 {
        guard let kind = Folding.Kind(record), let uid = record.peer?.uid else { return stage(record, of: key) }
        tally.note(record, key)
        switch folding.add(kind, of: uid, in: crowd, now: now) {
        case .folded(let number): return number
        case .ownRecord:
            let number = add(record, key)
            folding.recorded(kind, of: uid, number: number)
            return number
        case .beginsToFold(let crowd):
            var beginning = Record(.limit)
            beginning.reason = .folded
            beginning.detail = "from here on refusals of \(crowd.words) are counted together, not recorded one by one"
            beginning.policy = record.policy
            let number = add(beginning, nil)
            folding.foldsInto(number, crowd)
            return number
        }
    }

    private func add(_ record: Record, _ key: KeyName?) -> UInt64 {
        let number = log.stage(record)
        staged.append((Recorded(number: number, record: record), key))
        return number
    }

    // MARK: The clock

    /// When `settle` has something to do; nil if it has not.
    var nextSettling: Instant? {
        guard let next = owed.isEmpty ? folding.nextCollection : .boot else { return nil }
        return max(next, retryAt)
    }

    /// Stages a record for each count of what was folded in a time that is over; of all with `all`.
    func settle(now: Instant, policy digest: String, all: Bool = false) {
        if !owed.isEmpty { stageWhatIsOwed() }
        for folded in folding.collect(now: now, all: all) {
            var record = Record(.limit)
            switch folded.subject {
            case .uid(let uid):
                record.event = .request
                record.uid = uid
                record.detail = "as many more from uid \(uid), within a second"
            case .crowd(let crowd): record.detail = "as many from \(crowd.words), within a minute"
            }
            record.verb = folded.kind.verb
            record.decision = folded.kind.decision
            record.reason = .folded
            record.suppressed = folded.count
            record.policy = digest
            _ = log.stage(record)
        }
    }

    // MARK: Committing

    /// Puts what was staged into the log. If it cannot, it withdraws `answers`, which are those to what was staged,
    /// and nothing of it counts.
    func commit(_ answers: [Answer], now: Instant = .now) -> Committed {
        if log.hasStaged { stageWhatIsOwed() }
        do throws(Failure) { try log.commit() } catch {
            undo(answers)
            // What nobody waits for is not tried again and again.
            retryAt = now.after(Limits.retry)
            let isNew = outage == nil
            outage = Outage(
                since: outage?.since ?? .now, failure: error, withdrawn: (outage?.withdrawn ?? 0) + answers.count)
            return isNew ? .failed(error) : .failedAgain(error)
        }
        let recorded = staged.map(\.recorded)
        staged = []
        tally.commit()
        folding.commit()
        guard !recorded.isEmpty, let ended = outage else { return .written(recorded) }
        outage = nil
        retryAt = .boot
        return .recovered(recorded, withdrawn: ended.withdrawn)
    }

    /// Counts what was committed or withdrawn. To be called when the answers are sent: how long counting takes must not
    /// tell a caller of a key.
    func count() { tally.count() }

    /// The one way back: the log has freed the numbers itself.
    private func undo(_ answers: [Answer]) {
        for answer in answers { answer.withdraw() }
        owed = staged.filter { $0.recorded.record.of != nil }.map { ($0.recorded.record, $0.key) }
        staged = []
        tally.withdraw()
        folding.undo()
    }

    /// What an outage left behind.
    private func stageWhatIsOwed() {
        let corrections = owed
        owed = []
        for (record, key) in corrections { _ = stage(record, of: key) }
        guard let outage else { return }
        var record = Record(.limit)
        record.decision = .unavailable
        record.reason = .auditUnavailable
        record.detail = "since \(outage.since.rfc3339) the log could not be written: \(outage.failure)"
        record.suppressed = outage.withdrawn
        // Of requests that are counted already.
        _ = add(record, nil)
    }

    /// Goes on in a new log file if the old one was rotated away.
    func reopen() throws(LogError) -> Bool { try log.reopen() }

    /// Forgets the counts of keys that are no longer in the policy.
    func keepCounts(ofOnly names: some Collection<KeyName>) { tally.keep(only: names) }
}

extension Folding.Crowd {
    fileprivate var words: String {
        switch self {
        case .strangers: "users that no line names"
        case .groups: "users that only a group makes known"
        }
    }
}
