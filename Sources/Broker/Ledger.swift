// The ledger holds what was decided and is not yet in the log: in one place, with one commit and one undo.
//
// No record, no key: an answer counts only after `commit` has returned. If the log cannot be written, `commit`
// withdraws the answers before it returns. Must never let an answer go out if its record is not in the log, nor fold a
// grant or a correction.

package import Audit
package import Kernel
internal import Wire

/// A record that has its number. It counts once it is in the log. It is a class, so that what keeps it copies nothing.
package final class Recorded: Sendable {
    package let number: UInt64
    package let record: Record

    init(number: UInt64, record: consuming Record) {
        self.number = number
        self.record = record
    }
}

/// A period in which the log could not be written.
private struct Outage {
    let since: WallTime
    var failure: Failure
    /// How many answers were withdrawn.
    var withdrawn = 0
}

/// The result of a commit.
package enum Committed {
    /// The records that are now in the log, without those of folded events, which answer nobody.
    case written([Recorded])
    case failed(Failure)
    case recovered([Recorded], withdrawn: Int)
    /// The commit failed, and so did the one before, which reported it.
    case failedAgain(Failure)
}

/// Owns the log, the counts for the status, the folded events, and whether the log can be written.
final class Ledger {
    private let log: any RecordLog
    private(set) var tally = Tally()
    private var folding = Folding()
    private var statusQueries = StatusQueries()
    private var staged: [Recorded] = []
    private var outage: Outage?
    private var surplus = Surplus()
    /// Corrections, ends of watches, and reloads that could not be written. They hold all the same, so they are staged
    /// again, before anything else.
    private var owed: [Record] = []
    /// If the log cannot be written: when to try again for records that no caller waits for.
    private var retryAt = Instant.boot

    init(_ log: any RecordLog) { self.log = log }

    var path: String { log.path }
    var recovery: String? { log.recovery }
    var lastNumber: UInt64 { log.lastNumber }
    var head: String { log.head }
    var isWritten: Bool { outage == nil }

    // MARK: Staging

    /// Stages a record of its own and returns its number: for grants, corrections and the daemon's own events.
    /// - Parameter key: the key to count for, or nil if the policy has no such key. Otherwise callers could fill the
    ///   daemon's memory with invented names.
    func stage(_ record: Record, of key: KeyName? = nil) -> UInt64 { staged(record, of: key).number }

    /// The same, for who keeps the record: a grant that is not delivered needs a correction.
    func staged(_ record: consuming Record, of key: KeyName?) -> Recorded {
        tally.note(record, key)
        return add(record)
    }

    /// Stages a refusal or a query, or only counts it if one caller, or a crowd of callers, makes too many. Returns the
    /// number that the caller is told.
    /// - Parameters:
    ///   - subject: for whom it is counted, or nil if that is the caller's uid.
    ///   - crowd: the crowd of the caller, or nil if a line names its uid or it is an administrator's.
    ///   - times: how many such events the record stands for.
    func stageFoldable(
        _ record: Record, of key: KeyName?, for subject: Folding.Subject? = nil, in crowd: Folding.Crowd?,
        times: Int = 1, now: Instant
    ) -> UInt64 {
        // While the log cannot be written, a query of the status is a reason to try again.
        if isWritten, let query = StatusQueries.Kind(record), let uid = record.peer?.uid,
            !statusQueries.add(query, of: uid, inCrowd: crowd != nil, by: record.rule, now: now)
        {
            tally.note(record, key)
            return lastNumber
        }
        guard let kind = Folding.Kind(record), let subject = subject ?? record.peer.map({ .uid($0.uid) }) else {
            return stage(record, of: key)
        }
        tally.note(record, key, times: times)
        switch folding.add(kind, of: subject, in: crowd, times: times, now: now) {
        case .folded(let number): return number
        case .ownRecord:
            let number = add(record).number
            folding.recorded(kind, of: subject, number: number)
            return number
        case .beginsToFold(let crowd):
            var beginning = Record(.limit)
            beginning.reason = .folded
            beginning.detail = "from here on refusals of \(crowd.words) are counted together, not recorded one by one"
            beginning.policy = record.policy
            let number = add(beginning).number
            folding.foldsInto(number, crowd)
            return number
        }
    }

    /// Stages a record that says how many connections of a uid or unit got no reply, or counts them.
    func stageSurplus(
        of subject: Folding.Subject, in crowd: Folding.Crowd?, times: Int, policy digest: String?, now: Instant
    ) {
        surplus.note(subject, in: crowd, times: times)
        let record = Record(surplusOf: subject, policy: digest)
        _ = stageFoldable(record, of: nil, for: subject, in: crowd, times: times, now: now)
    }

    private func add(_ record: consuming Record) -> Recorded {
        stageOwed()
        let recorded = Recorded(number: log.stage(record), record: record)
        staged.append(recorded)
        return recorded
    }

    // MARK: The clock

    /// When `settle` next has something to do, or nil if it has nothing.
    var nextSettling: Instant? {
        let collection = Instant.earlier(folding.nextCollection, statusQueries.nextEnd)
        guard let next = owed.isEmpty && !surplus.isOwed ? collection : .boot else { return nil }
        return max(next, retryAt)
    }

    /// Stages a record for each count of folded events whose time is over, or for all counts if `all` is true.
    func settle(now: Instant, policy digest: String?, all: Bool = false) {
        stageOwed()
        for (subject, times) in surplus.takeOwed() {
            var record = Record(surplusOf: subject, policy: digest)
            record.suppressed = times
            tally.note(record, nil, times: times)
            _ = add(record)
        }
        for folded in folding.collect(now: now, all: all) {
            var record = Record(.limit)
            switch folded.subject {
            case .uid(let uid):
                record.event = .request
                record.uid = uid
                record.detail = "as many more from uid \(uid), within a second"
            case .unit(let unit):
                record.event = .request
                record.peer = Peer(uid: 0, gid: 0, unit: unit)
                record.verb = .credential
                record.detail = "as many more for \(unit), within a second"
            case .callers(let unit):
                record.event = .request
                record.unit = unit
                record.detail = "as many more from those in \(unit), within a second"
            case .otherUnits:
                record.event = .request
                record.peer = Peer(uid: 0, gid: 0)
                record.verb = .credential
                record.detail = "as many more for units that no line names, within a second"
            case .crowd(let crowd): record.detail = "as many from \(crowd.words), within a minute"
            }
            record.verb = folded.kind.verb ?? record.verb
            record.decision = folded.kind.decision
            record.reason = .folded
            record.suppressed = folded.count
            record.policy = digest
            _ = log.stage(record)
        }
        for counted in statusQueries.collect(now: now, all: all) {
            var record = Record(.request)
            switch counted.subject {
            case .uid(let uid):
                record.uid = uid
                record.detail = "as many more from uid \(uid), within a day"
            case .others:
                record.event = .limit
                record.detail = "as many from users that only a group or a unit makes known, within a day"
            }
            record.verb = counted.kind.verb
            record.rule = counted.rule
            record.decision = .granted
            record.reason = .folded
            record.suppressed = counted.count
            record.policy = digest
            _ = log.stage(record)
        }
    }

    // MARK: Committing

    /// Writes the staged records to the log. If that fails, it withdraws `answers`, which are the answers to the staged
    /// requests, and undoes everything that was staged.
    func commit(_ answers: some Collection<Answer>, now: @autoclosure () -> Instant = .now) -> Committed {
        if log.hasStaged { stageEndOfOutage() }
        do throws(Failure) { try log.commit() } catch {
            let credentials = staged.count { $0.record.verb == .credential && $0.record.of == nil }
            undo(answers)
            // Records that no caller waits for are tried again only after a pause.
            retryAt = now().after(Limits.retry)
            let isNew = outage == nil
            outage = Outage(
                since: outage?.since ?? .now, failure: error,
                withdrawn: (outage?.withdrawn ?? 0) + answers.count + credentials)
            return isNew ? .failed(error) : .failedAgain(error)
        }
        let recorded = staged
        staged = []
        tally.commit()
        folding.commit()
        statusQueries.commit()
        surplus.commit()
        guard !recorded.isEmpty, let ended = outage else { return .written(recorded) }
        outage = nil
        retryAt = .boot
        return .recovered(recorded, withdrawn: ended.withdrawn)
    }

    /// Counts what was committed or withdrawn. Call this after the answers are sent, so that the time it takes tells no
    /// caller anything about a key.
    func count() { tally.count() }

    /// The only place that undoes. The log has already released the numbers itself.
    private func undo(_ answers: some Collection<Answer>) {
        for answer in answers { answer.withdraw() }
        owed = staged.map(\.record).filter(\.isOwed)
        staged = []
        tally.withdraw()
        folding.undo()
        statusQueries.undo()
        surplus.undo()
    }

    private func stageOwed() {
        guard !owed.isEmpty else { return }
        let records = owed
        owed = []
        // A correction always names a key that there was.
        for record in records { _ = stage(record, of: record.key.flatMap(KeyName.init)) }
    }

    /// Stages a record of the outage, which ends if the next commit succeeds.
    private func stageEndOfOutage() {
        guard let outage else { return }
        var record = Record(.limit)
        record.decision = .unavailable
        record.reason = .auditUnavailable
        record.detail = "since \(outage.since.rfc3339) the log could not be written: \(outage.failure)"
        record.suppressed = outage.withdrawn
        // `add` and not `stage`: the withdrawn requests are already counted.
        _ = add(record)
    }

    /// Whether another file is where the log was.
    var isReplaced: Bool { log.isReplaced }

    /// Goes on in a new log file if the old one was rotated away.
    func reopen() throws(LogError) -> Bool { try log.reopen() }

    /// The keys that the tally counts and that come after `last`, sorted.
    func names(after last: KeyName?) -> ArraySlice<KeyName> { tally.names(after: last) }

    /// Begins to forget the counts of keys that are no longer in the policy.
    func beginSweep() { tally.beginSweep() }
    var isSwept: Bool { tally.isSwept }
    func sweep(butNot isKept: (KeyName) -> Bool) { tally.sweep(butNot: isKept) }
}

extension Record {
    /// Whether it says what holds even if it cannot be written now: it is staged again until it is in the log.
    var isOwed: Bool { of != nil || endsWatch || event == .reload }
}

extension Folding.Crowd {
    var words: String {
        switch self {
        case .strangers: "users that no line names"
        case .groups: "users that only a group makes known"
        case .units: "users that only their unit makes known"
        }
    }
}
