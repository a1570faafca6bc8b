// Which refusals and queries get a record of their own, and how many are counted instead: "folded".
//
// What one uid can write, and what all strangers can write together, is bounded, whatever they do. Must never fold
// a grant or a correction, nor let the number that a refused caller is told depend on why it was refused.

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
        /// It was counted. A record is to say that strangers are counted from here on; its number is to be reported
        /// to `strangersFoldInto`, and is the event's too.
        case beginsToFoldStrangers
    }

    /// What was counted and is to be recorded. No uid: of all strangers together.
    struct Folded: Equatable {
        let uid: UInt32?
        let kind: Kind
        let count: Int
    }

    private struct Counter {
        var recorded = 0
        var folded = 0
        var lastNumber: UInt64 = 0
    }

    /// The events of one uid within a second.
    private struct Window {
        let end: Instant
        var recorded = 0
        var lastNumber: UInt64 = 0
        var counters = InlineArray<7, Counter>(repeating: Counter())

        func folded(of uid: UInt32?) -> [Folded] {
            Kind.allCases.compactMap { kind in
                let count = counters[kind.rawValue].folded
                return count > 0 ? Folded(uid: uid, kind: kind, count: count) : nil
            }
        }
    }

    private struct State {
        var windows: [UInt32: Window] = [:]
        /// Of strangers; nil while they have records of their own.
        var strangers: Window?
        /// When the records that strangers had would have come in at the permitted rate (GCRA).
        var strangersPace = Instant(nanoseconds: 0)
        /// Of windows that were over before they were collected.
        var ended: [Folded] = []
        var nextCollection: Instant?
    }
    private var state = State()

    /// How it was before this turn: of the uids of the turn alone, so that a turn costs what it did.
    private struct Before {
        var windows: [UInt32: Window?] = [:]
        let strangers: Window?, strangersPace: Instant, ended: [Folded], nextCollection: Instant?
    }
    private var before: Before?

    /// When `collect` has something to do; nil where it has not.
    var nextCollection: Instant? { state.nextCollection }

    // MARK: Events

    /// - Parameter isNamed: a line of the policy names the uid, or it is an administrator's.
    mutating func add(_ kind: Kind, of uid: UInt32, isNamed: Bool, now: Instant) -> Outcome {
        remember(uid)
        var window = currentWindow(of: uid, now)
        defer { state.windows[uid] = window }
        let counter = window.counters[kind.rawValue]
        if window.recorded >= Limits.recordsPerUser || counter.recorded >= Limits.recordsPerUserAndKind {
            window.counters[kind.rawValue].folded += 1
            return .folded(into: counter.lastNumber > 0 ? counter.lastNumber : window.lastNumber)
        }
        guard isNamed || mayRecordStranger(now) else { return foldStranger(kind, now) }
        return .ownRecord
    }

    /// An event got a record of its own.
    mutating func recorded(_ kind: Kind, of uid: UInt32, number: UInt64) {
        state.windows[uid]?.recorded += 1
        state.windows[uid]?.lastNumber = number
        state.windows[uid]?.counters[kind.rawValue].recorded += 1
        state.windows[uid]?.counters[kind.rawValue].lastNumber = number
    }

    /// The record that says so has that number.
    mutating func strangersFoldInto(_ number: UInt64) { state.strangers?.lastNumber = number }

    private mutating func currentWindow(of uid: UInt32, _ now: Instant) -> Window {
        if let window = state.windows[uid] {
            if now < window.end { return window }
            state.ended += window.folded(of: uid)
        }
        let window = Window(end: now.after(milliseconds: 1000))
        expectCollection(window.end)
        return window
    }

    private mutating func mayRecordStranger(_ now: Instant) -> Bool {
        let interval = 1_000_000_000 / UInt64(Limits.strangersRecordsPerSecond)
        let pace = max(state.strangersPace, now).nanoseconds + interval
        guard pace - now.nanoseconds <= interval * UInt64(Limits.strangersRecordsAtOnce) else { return false }
        state.strangersPace = Instant(nanoseconds: pace)
        return true
    }

    private mutating func foldStranger(_ kind: Kind, _ now: Instant) -> Outcome {
        if let window = state.strangers, now >= window.end {
            state.ended += window.folded(of: nil)
            state.strangers = nil
        }
        let begins = state.strangers == nil
        if begins {
            let end = now.after(milliseconds: Limits.strangersFoldingMilliseconds)
            state.strangers = Window(end: end)
            expectCollection(end)
        }
        state.strangers?.counters[kind.rawValue].folded += 1
        return begins ? .beginsToFoldStrangers : .folded(into: state.strangers?.lastNumber ?? 0)
    }

    private mutating func expectCollection(_ instant: Instant) {
        state.nextCollection = min(state.nextCollection ?? instant, instant)
    }

    // MARK: What was counted

    /// Takes what was counted in the windows that are over; of all with `all`. Forgets uids that are quiet.
    mutating func collect(now: Instant, all: Bool = false) -> [Folded] {
        var folded = state.ended
        for (uid, window) in state.windows where all || window.end <= now {
            remember(uid)
            folded += window.folded(of: uid)
            state.windows[uid] = nil
        }
        if let window = state.strangers, all || window.end <= now {
            remember(nil)
            folded += window.folded(of: nil)
            state.strangers = nil
        }
        if !folded.isEmpty { remember(nil) }
        state.ended = []
        state.nextCollection = (state.windows.values.map(\.end) + [state.strangers?.end].compactMap(\.self)).min()
        return folded
    }

    // MARK: A turn

    private mutating func remember(_ uid: UInt32?) {
        if before == nil {
            before = Before(
                strangers: state.strangers, strangersPace: state.strangersPace, ended: state.ended,
                nextCollection: state.nextCollection)
        }
        if let uid, before?.windows[uid] == nil { before?.windows[uid] = .some(state.windows[uid]) }
    }

    /// What was counted and recorded since the last commit stays.
    mutating func commit() { before = nil }

    /// None of it was recorded, and none of its numbers is true.
    mutating func undo() {
        guard let before else { return }
        for (uid, window) in before.windows { state.windows[uid] = window }
        state.strangers = before.strangers
        state.strangersPace = before.strangersPace
        state.ended = before.ended
        state.nextCollection = before.nextCollection
        self.before = nil
    }
}
