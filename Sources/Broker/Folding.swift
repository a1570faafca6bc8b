// Which refusals and queries get a record of their own, and how many are counted instead: "folded".
//
// What one uid can write, and what all uids can write together that no line names, is bounded, whatever they do. Must
// never fold a grant or a correction, nor let the number that a refused caller is told depend on why it was refused.

internal import Audit
internal import Kernel
internal import Wire

/// Counts refusals and queries, by uid and kind.
struct Folding {
    /// Events that are alike to a reader of the log.
    enum Kind: Int, CaseIterable {
        case denied, unavailable, busy, malformed, list, version, status

        /// Nil for what is never folded.
        init?(_ record: Record) {
            switch (record.decision, record.verb) {
            case (.denied, _): self = .denied
            case (.unavailable, _): self = .unavailable
            case (.busy, _): self = .busy
            case (.malformed, _): self = .malformed
            case (.granted, .list): self = .list
            case (.granted, .version): self = .version
            case (.granted, .status): self = .status
            default: return nil
            }
        }

        var decision: Record.Decision {
            switch self {
            case .denied: .denied
            case .unavailable: .unavailable
            case .busy: .busy
            case .malformed: .malformed
            case .list, .version, .status: .granted
            }
        }

        var verb: Record.Verb? {
            switch self {
            case .list: .list
            case .version: .version
            case .status: .status
            case .denied, .unavailable, .busy, .malformed: nil
            }
        }
    }

    /// What becomes of an event.
    enum Outcome: Equatable {
        /// It gets a record of its own, which is to be reported to `recorded`.
        case ownRecord
        /// It was counted, and is known by that number.
        case folded(into: UInt64)
        /// It was counted. A record is to say that the crowd is counted from here on; its number is to be reported
        /// to `foldsInto`, and is the event's too.
        case beginsToFold(Crowd)
    }

    /// Uids of which there may be any number: what they write together is bounded, too. Those whom a group makes known
    /// have a share of their own, so that strangers do not hide what they were refused.
    enum Crowd: Int, CaseIterable { case strangers, groups }

    enum Subject: Equatable {
        case uid(UInt32)
        case crowd(Crowd)
    }

    /// What was counted and is to be recorded.
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
        /// When what was counted so far is recorded.
        var end: Instant
        /// When the records so far would have come in at the permitted rate (the generic cell rate algorithm).
        var pace = Instant.boot
        /// The same of those that are about no key: a flood of them does not hide which keys somebody was refused.
        var paceWithoutKey = Instant.boot
        var lastNumber: UInt64 = 0
        var counters = InlineArray<7, Counter>(repeating: Counter())

        /// Takes what was counted.
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

        /// Counts the event; the number that it is known under.
        mutating func fold(_ kind: Kind) -> UInt64 {
            counters[kind.rawValue].folded += 1
            let ofKind = counters[kind.rawValue].lastNumber
            return ofKind > 0 ? ofKind : lastNumber
        }
    }

    private struct State {
        var accounts: [UInt32: Account] = [:]
        /// Of the crowds: how many records their uids had, and, while they have none of their own, what is counted.
        var crowdPaces = InlineArray<2, Instant>(repeating: .boot)
        var crowds = InlineArray<2, Account?>(repeating: nil)
        var nextCollection: Instant?
    }
    private var state = State()

    /// How it was before this turn: of the uids of the turn alone, so that a turn costs what it did.
    private struct Before {
        var accounts: [UInt32: Account?] = [:]
        let crowds: InlineArray<2, Account?>, crowdPaces: InlineArray<2, Instant>, nextCollection: Instant?
    }
    private var before: Before?

    /// When `collect` has something to do; nil where it has not.
    var nextCollection: Instant? { state.nextCollection }

    // MARK: Events

    /// - Parameter crowd: which one the uid is of; nil if a line names it, or if it is an administrator's.
    mutating func add(_ kind: Kind, of uid: UInt32, in crowd: Crowd?, now: Instant) -> Outcome {
        remember(uid)
        expectCollection(now.after(Limits.folding))
        var account = state.accounts[uid] ?? Account(end: now.after(Limits.folding))
        defer { state.accounts[uid] = account }
        let second = Duration.seconds(1)
        guard let pace = Self.pace(account.pace, every: second, atOnce: Limits.recordsAtOnce, now) else {
            return .folded(into: account.fold(kind))
        }
        var paceWithoutKey = account.paceWithoutKey
        if !kind.isAboutKey {
            let next = Self.pace(paceWithoutKey, every: second * 2, atOnce: Limits.recordsWithoutKeyAtOnce, now)
            guard let next else { return .folded(into: account.fold(kind)) }
            paceWithoutKey = next
        }
        if let crowd {
            let next = Self.pace(
                state.crowdPaces[crowd.rawValue], every: second / Limits.crowdRecordsPerSecond,
                atOnce: Limits.crowdRecordsAtOnce, now)
            guard let next else { return fold(kind, of: crowd, now) }
            state.crowdPaces[crowd.rawValue] = next
        }
        account.pace = pace
        account.paceWithoutKey = paceWithoutKey
        return .ownRecord
    }

    /// An event got a record of its own.
    mutating func recorded(_ kind: Kind, of uid: UInt32, number: UInt64) {
        state.accounts[uid]?.noteRecord(kind, number)
    }

    /// The record that says so has that number.
    mutating func foldsInto(_ number: UInt64, _ crowd: Crowd) { state.crowds[crowd.rawValue]?.lastNumber = number }

    private mutating func fold(_ kind: Kind, of crowd: Crowd, _ now: Instant) -> Outcome {
        if let number = state.crowds[crowd.rawValue]?.fold(kind) { return .folded(into: number) }
        var account = Account(end: now.after(Limits.crowdFolding))
        _ = account.fold(kind)
        expectCollection(account.end)
        state.crowds[crowd.rawValue] = account
        return .beginsToFold(crowd)
    }

    /// The pace with one more record, if there may be one now: so many at once, and one in that time.
    private static func pace(_ pace: Instant, every interval: Duration, atOnce: Int, _ now: Instant) -> Instant? {
        let next = max(pace, now).after(interval)
        return next <= now.after(interval * atOnce) ? next : nil
    }

    private mutating func expectCollection(_ instant: Instant) {
        state.nextCollection = min(state.nextCollection ?? instant, instant)
    }

    // MARK: What was counted

    /// Takes what was counted long enough ago; all with `all`. Forgets uids that are quiet.
    mutating func collect(now: Instant, all: Bool = false) -> [Folded] {
        var folded: [Folded] = []
        var next: Instant?
        for (uid, account) in state.accounts {
            var account = account
            if all || account.end <= now {
                remember(uid)
                folded += account.collect(of: .uid(uid))
                account.end = now.after(Limits.folding)
                let isQuiet = account.pace <= now && account.paceWithoutKey <= now
                state.accounts[uid] = isQuiet ? nil : account
                if isQuiet { continue }
            }
            next = min(next ?? account.end, account.end)
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
        state.nextCollection = next
        return folded
    }

    // MARK: A turn

    private mutating func remember(_ uid: UInt32?) {
        if before == nil {
            before = Before(
                crowds: state.crowds, crowdPaces: state.crowdPaces, nextCollection: state.nextCollection)
        }
        if let uid, before?.accounts[uid] == nil { before?.accounts[uid] = .some(state.accounts[uid]) }
    }

    /// What was counted and recorded since the last commit stays.
    mutating func commit() { before = nil }

    /// None of it was recorded, and none of its numbers is true.
    mutating func undo() {
        guard let before else { return }
        for (uid, account) in before.accounts { state.accounts[uid] = account }
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
        case .busy, .malformed, .list, .version, .status: false
        }
    }
}
