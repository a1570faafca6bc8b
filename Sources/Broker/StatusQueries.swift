// Counts the queries of the status, and of who holds which content, by caller: the first one has a record, and all others
// of a day have one together.
//
// Monitoring asks all day long, and says the same of itself each time. Must never count a refusal or a key. Must never keep
// more than a bounded number of callers that only a group or a unit makes known.

internal import Audit
internal import Kernel
internal import Wire

struct StatusQueries {
    enum Kind: Int, CaseIterable {
        case status, rotation

        /// Nil if the record is no such query, or a query that was refused.
        init?(_ record: Record) {
            switch (record.decision, record.verb) {
            case (.granted, .status): self = .status
            case (.granted, .rotation): self = .rotation
            default: return nil
            }
        }

        var verb: Record.Verb { self == .status ? .status : .rotation }
    }

    enum Subject: Hashable {
        case uid(UInt32)
        /// All callers of a crowd for which there was no room.
        case others
    }

    /// Queries that were counted and now need a record.
    struct Counted: Equatable {
        let subject: Subject
        let kind: Kind
        let count: Int
        /// The line that permitted the last of them. Nil for an administrator, who needs none.
        let rule: String?
    }

    private struct Day {
        let end: Instant
        /// True for a caller that only a group or a unit makes known.
        let isOfCrowd: Bool
        var counts = InlineArray<2, Int>(repeating: 0)
        var hasRecord = InlineArray<2, Bool>(repeating: false)
        /// The line that permitted the last query of the status.
        var rule: String?
    }
    private var days: [Subject: Day] = [:]
    private var ofCrowd = 0
    /// When the first of the days is over, or nil if there is none.
    private(set) var nextEnd: Instant?

    /// What this turn has changed, as it was before, for `undo`.
    private var before: [Subject: Day?] = [:]
    private var beforeTurn: (ofCrowd: Int, nextEnd: Instant?)?

    /// Returns true if the query gets a record of its own, or else counts it.
    /// - Parameter rule: the line that permits it, or nil for an administrator.
    mutating func add(
        _ kind: Kind, of uid: UInt32, inCrowd isOfCrowd: Bool, by rule: String? = nil, now: Instant
    ) -> Bool {
        var subject = Subject.uid(uid)
        if days[subject] == nil, isOfCrowd, ofCrowd >= Limits.statusCallers { subject = .others }
        remember(subject)
        if days[subject] == nil {
            days[subject] = Day(end: now.after(Limits.statusFolding), isOfCrowd: isOfCrowd && subject != .others)
            if days[subject]?.isOfCrowd == true { ofCrowd += 1 }
            nextEnd = min(nextEnd ?? .never, now.after(Limits.statusFolding))
        }
        if subject != .others, kind == .status { days[subject]?.rule = rule }
        if subject != .others, days[subject]?.hasRecord[kind.rawValue] == false {
            days[subject]?.hasRecord[kind.rawValue] = true
            return true
        }
        days[subject]?.counts[kind.rawValue] += 1
        return false
    }

    /// Returns the counts whose day is over, or all of them if `all` is true. A caller that asked goes on being counted,
    /// and one that did not is forgotten.
    mutating func collect(now: Instant, all: Bool = false) -> [Counted] {
        guard all || nextEnd.map({ $0 <= now }) == true else { return [] }
        var collected: [Counted] = []
        for (subject, day) in days where all || day.end <= now {
            remember(subject)
            let counted = Kind.allCases.compactMap { kind -> Counted? in
                let count = day.counts[kind.rawValue]
                guard count > 0 else { return nil }
                return Counted(subject: subject, kind: kind, count: count, rule: kind == .status ? day.rule : nil)
            }
            collected += counted
            if counted.isEmpty {
                days[subject] = nil
                if day.isOfCrowd { ofCrowd -= 1 }
            } else {
                var next = Day(end: now.after(Limits.statusFolding), isOfCrowd: day.isOfCrowd)
                next.hasRecord = day.hasRecord
                days[subject] = next
            }
        }
        nextEnd = days.values.map(\.end).min()
        return collected
    }

    // MARK: A turn

    private mutating func remember(_ subject: Subject) {
        if beforeTurn == nil { beforeTurn = (ofCrowd, nextEnd) }
        if before[subject] == nil { before[subject] = .some(days[subject]) }
    }

    /// Keeps what was counted and recorded since the last commit.
    mutating func commit() {
        guard beforeTurn != nil else { return }
        before = [:]
        beforeTurn = nil
    }

    /// Restores the state of the last commit, because none of its records was written.
    mutating func undo() {
        for (subject, day) in before { days[subject] = day }
        if let beforeTurn { (ofCrowd, nextEnd) = beforeTurn }
        commit()
    }
}
