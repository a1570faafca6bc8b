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
    /// - Parameter isNamed: a line of the policy names the caller's uid, or it is an administrator's.
    func stageFoldable(_ record: Record, of key: KeyName?, isNamed: Bool, now: Instant) -> UInt64 {
        guard let kind = Folding.Kind(record), let uid = record.peer?.uid else { return stage(record, of: key) }
        tally.note(record, key)
        switch folding.add(kind, of: uid, isNamed: isNamed, now: now) {
        case .folded(let number): return number
        case .ownRecord:
            let number = add(record, key)
            folding.recorded(kind, of: uid, number: number)
            return number
        case .beginsToFoldStrangers:
            var beginning = Record(.limit)
            beginning.reason = .folded
            beginning.detail =
                "from here on refusals of users that no line names are counted together, not recorded one by one"
            beginning.policy = record.policy
            let number = add(beginning, nil)
            folding.strangersFoldInto(number)
            return number
        }
    }

    private func add(_ record: Record, _ key: KeyName?) -> UInt64 {
        let number = log.stage(record)
        staged.append((Recorded(number: number, record: record), key))
        return number
    }

    // MARK: Folding

    /// When `settle` has something to do; nil where it has not.
    var nextSettling: Instant? { folding.nextCollection }

    /// Stages a record for each count of what was folded in a time that is over; of all with `all`.
    func settle(now: Instant, policy digest: String, all: Bool = false) {
        for folded in folding.collect(now: now, all: all) {
            var record = Record(folded.uid == nil ? .limit : .request)
            record.verb = folded.kind.verb
            record.decision = folded.kind.decision
            record.reason = .folded
            record.suppressed = folded.count
            record.uid = folded.uid
            record.policy = digest
            record.detail =
                folded.uid.map { "as many more from uid \($0), within a second" }
                ?? "as many from users that no line names, within a minute"
            _ = log.stage(record)
        }
    }

    // MARK: Committing

    /// Puts what was staged into the log. If it cannot, it withdraws `answers`, which are those to what was staged,
    /// and nothing of it counts.
    func commit(_ answers: [Answer]) -> Committed {
        if log.hasStaged { stageWhatIsOwed() }
        do throws(Failure) { try log.commit() } catch {
            undo(answers)
            guard outage == nil else {
                outage?.failure = error
                outage?.withdrawn += answers.count
                return .failedAgain(error)
            }
            outage = Outage(since: .now, failure: error, withdrawn: answers.count)
            return .failed(error)
        }
        let recorded = staged.map(\.recorded)
        staged = []
        owed = []
        tally.commit()
        folding.commit()
        guard !recorded.isEmpty, let ended = outage else { return .written(recorded) }
        outage = nil
        return .recovered(recorded, withdrawn: ended.withdrawn)
    }

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
        for (record, key) in owed { _ = stage(record, of: key) }
        guard let outage else { return }
        var record = Record(.limit)
        record.decision = .unavailable
        record.reason = .auditUnavailable
        record.detail = "since \(outage.since.rfc3339) the log could not be written: \(outage.failure)"
        record.suppressed = outage.withdrawn
        _ = stage(record)
    }

    /// Goes on in a new log file if the old one was rotated away.
    func reopen() throws(LogError) -> Bool { try log.reopen() }

    /// Forgets the counts of keys that are no longer in the policy.
    func keepCounts(ofOnly names: some Collection<KeyName>) { tally.keep(only: names) }
}
