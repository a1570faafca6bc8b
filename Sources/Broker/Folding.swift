// Decides which refusals and queries get a record of their own, and which are only counted. This is called "folding".
//
// It bounds the records of each uid, and the records of all uids together that no line of the policy names. Must never
// fold a grant or a correction. Must never let the number that a refused caller is told depend on the reason.

internal import Audit
internal import Kernel
internal import Wire

/// Counts refusals and queries, by uid and kind. `StatusQueries` counts those of the status.
struct Folding {
    /// Events that mean the same to a reader of the log.
    enum Kind: Int, CaseIterable {
        case denied, unavailable, busy, malformed, list, version

        /// Nil if such a record is never folded.
        init?(_ record: Record) {
            switch (record.decision, record.verb) {
            case (.denied, _): self = .denied
            case (.unavailable, _): self = .unavailable
            case (.busy, _): self = .busy
            case (.malformed, _): self = .malformed
            case (.granted, .list): self = .list
            case (.granted, .version): self = .version
            default: return nil
            }
        }

        var decision: Record.Decision {
            switch self {
            case .denied: .denied
            case .unavailable: .unavailable
            case .busy: .busy
            case .malformed: .malformed
            case .list, .version: .granted
            }
        }

        var verb: Record.Verb? {
            switch self {
            case .list: .list
            case .version: .version
            case .denied, .unavailable, .busy, .malformed: nil
            }
        }
    }

    /// What happens with an event.
    enum Outcome: Equatable {
        /// It gets a record of its own. Its number must be passed to `recorded`.
        case ownRecord
        /// It was only counted. The caller is told this number.
        case folded(into: UInt64)
        /// It was only counted, as the first one of its crowd. A record must say that the crowd is counted from here
        /// on. The number of that record must be passed to `foldsInto`, and the caller is told the same number.
        case beginsToFold(Crowd)
    }

    /// Groups of uids that can be any number, so their records together are bounded as well. Uids that only a group
    /// or only their unit makes known have shares of their own, so that strangers cannot hide their refusals.
    enum Crowd: Int, CaseIterable { case strangers, groups, units }

    enum Subject: Hashable {
        case uid(UInt32)
        /// The service manager, asking for this unit, which a line names.
        case unit(String)
        /// Callers that only this unit makes known, whatever their uids.
        case callers(inUnit: String)
        /// The service manager, or who pretends to be it, asking for units that no line names.
        case otherUnits
        case crowd(Crowd)
    }

    /// Events that were counted and now need a record.
    struct Folded: Equatable {
        let subject: Subject
        let kind: Kind
        let count: Int
    }

    private struct Counter {
        var folded = 0
        var lastNumber: UInt64 = 0
    }

    /// The events of one uid, or of a crowd.
    private struct Account {
        /// When the events counted so far are to be recorded.
        var end: Instant
        var pace = Pace()
        /// The same for records that name no key, so that a flood of them cannot hide which keys the uid was refused.
        var paceWithoutKey = Pace()
        var lastNumber: UInt64 = 0
        var counters = InlineArray<6, Counter>(repeating: Counter())

        /// Returns what was counted and sets the counters to zero.
        mutating func collect(of subject: Subject) -> [Folded] {
            Kind.allCases.compactMap { kind in
                let count = counters[kind.rawValue].folded
                counters[kind.rawValue].folded = 0
                return count > 0 ? Folded(subject: subject, kind: kind, count: count) : nil
            }
        }

        mutating func noteRecord(_ kind: Kind, _ number: UInt64) {
            lastNumber = number
            counters[kind.rawValue].lastNumber = number
        }

        /// Counts events and returns the number that the caller is told.
        mutating func fold(_ kind: Kind, times: Int) -> UInt64 {
            counters[kind.rawValue].folded += times
            let ofKind = counters[kind.rawValue].lastNumber
            return ofKind > 0 ? ofKind : lastNumber
        }
    }

    private struct State {
        var accounts: [Subject: Account] = [:]
        /// For each crowd: the rate limit of the records of its uids, and the events counted while the limit is
        /// reached.
        var crowdPaces = InlineArray<3, Pace>(repeating: Pace())
        var crowds = InlineArray<3, Account?>(repeating: nil)
        var nextCollection: Instant?
    }
    private var state = State()

    private static let records = Rate(perSecond: 1, atOnce: Limits.recordsAtOnce)
    private static let recordsWithoutKey = Rate(every: .seconds(2), atOnce: Limits.recordsWithoutKeyAtOnce)
    private static let crowdRecords = Rate(
        perSecond: Limits.crowdRecordsPerSecond, atOnce: Limits.crowdRecordsAtOnce)

    /// The state before this turn, for `undo`. It holds only the uids of the turn, so that a turn copies no more than
    /// it changes.
    private struct Before {
        var accounts: [Subject: Account?] = [:]
        let crowds: InlineArray<3, Account?>, crowdPaces: InlineArray<3, Pace>, nextCollection: Instant?
    }
    private var before: Before?

    /// When `collect` next has something to do, or nil if it has nothing.
    var nextCollection: Instant? { state.nextCollection }

    // MARK: Events

    /// Decides what happens with an event of a uid or a unit.
    /// - Parameters:
    ///   - crowd: the crowd of the uid, or nil if a line names the uid or it is an administrator's.
    ///   - times: how many such events there were. At most one of them gets a record of its own.
    mutating func add(
        _ kind: Kind, of subject: Subject, in crowd: Crowd?, times: Int = 1, now: Instant
    ) -> Outcome {
        remember(subject)
        expectCollection(now.after(Limits.folding))
        var account = state.accounts[subject] ?? Account(end: now.after(Limits.folding))
        defer { state.accounts[subject] = account }
        // Nothing is counted against any of the limits unless all of them permit the record.
        var (pace, paceWithoutKey) = (account.pace, account.paceWithoutKey)
        if pace.take(Self.records, now) != nil { return .folded(into: account.fold(kind, times: times)) }
        if !kind.isAboutKey, paceWithoutKey.take(Self.recordsWithoutKey, now) != nil {
            return .folded(into: account.fold(kind, times: times))
        }
        if let crowd, state.crowdPaces[crowd.rawValue].take(Self.crowdRecords, now) != nil {
            return fold(kind, of: crowd, times, now)
        }
        account.pace = pace
        account.paceWithoutKey = paceWithoutKey
        if times > 1 { _ = account.fold(kind, times: times - 1) }
        return .ownRecord
    }

    /// Notes the number of a record that an event got for itself.
    mutating func recorded(_ kind: Kind, of subject: Subject, number: UInt64) {
        state.accounts[subject]?.noteRecord(kind, number)
    }

    /// Notes the number of the record that says that the crowd is counted from here on.
    mutating func foldsInto(_ number: UInt64, _ crowd: Crowd) { state.crowds[crowd.rawValue]?.lastNumber = number }

    private mutating func fold(_ kind: Kind, of crowd: Crowd, _ times: Int, _ now: Instant) -> Outcome {
        if let number = state.crowds[crowd.rawValue]?.fold(kind, times: times) { return .folded(into: number) }
        var account = Account(end: now.after(Limits.crowdFolding))
        _ = account.fold(kind, times: times)
        expectCollection(account.end)
        state.crowds[crowd.rawValue] = account
        return .beginsToFold(crowd)
    }

    private mutating func expectCollection(_ instant: Instant) {
        state.nextCollection = min(state.nextCollection ?? instant, instant)
    }

    // MARK: What was counted

    /// Returns the counts whose time is over, or all of them if `all` is true. Forgets uids that are quiet. It looks at
    /// each uid, so it has something to do only from time to time, however many they are.
    mutating func collect(now: Instant, all: Bool = false) -> [Folded] {
        guard all || nextCollection.map({ $0 <= now }) == true else { return [] }
        var folded: [Folded] = []
        var due: [Subject] = []
        var next: Instant?
        for (subject, account) in state.accounts {
            if all || account.end <= now { due.append(subject) } else { next = min(next ?? account.end, account.end) }
        }
        // They are changed only after the walk, which would otherwise force a copy of all of them.
        for subject in due {
            guard var account = state.accounts[subject] else { continue }
            remember(subject)
            folded += account.collect(of: subject)
            account.end = now.after(Limits.folding)
            let isQuiet = !account.pace.isBusy(now) && !account.paceWithoutKey.isBusy(now)
            state.accounts[subject] = isQuiet ? nil : account
            if !isQuiet { next = min(next ?? account.end, account.end) }
        }
        for crowd in Crowd.allCases {
            guard var account = state.crowds[crowd.rawValue] else { continue }
            if all || account.end <= now {
                remember(nil)
                folded += account.collect(of: .crowd(crowd))
                state.crowds[crowd.rawValue] = nil
            } else {
                next = min(next ?? account.end, account.end)
            }
        }
        state.nextCollection = next.map { max($0, now.after(Limits.foldingPause)) }
        return folded
    }

    // MARK: A turn

    private mutating func remember(_ subject: Subject?) {
        if before == nil {
            before = Before(
                crowds: state.crowds, crowdPaces: state.crowdPaces, nextCollection: state.nextCollection)
        }
        if let subject, before?.accounts[subject] == nil {
            before?.accounts[subject] = .some(state.accounts[subject])
        }
    }

    /// Keeps what was counted and recorded since the last commit.
    mutating func commit() { if before != nil { before = nil } }

    /// Restores the state of the last commit, because none of its records was written and their numbers are void.
    mutating func undo() {
        guard let before else { return }
        for (subject, account) in before.accounts { state.accounts[subject] = account }
        state.crowds = before.crowds
        state.crowdPaces = before.crowdPaces
        state.nextCollection = before.nextCollection
        self.before = nil
    }
}

extension Folding.Kind {
    fileprivate var isAboutKey: Bool {
        switch self {
        case .denied, .unavailable: true
        case .busy, .malformed, .list, .version: false
        }
    }
}
