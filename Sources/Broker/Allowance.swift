// How much each uid may ask: connections at a time, requests a second, and records of what was refused.
//
// Must never let one caller use up another's share, grow with the number of callers that have gone, or
// let the number a refused caller is told depend on why it was refused.

internal import Audit
internal import Kernel
internal import Wire

/// The account of every uid that is connected or was a moment ago.
struct Allowance {
    private struct Account {
        var connections = 0
        /// When the requests so far would have come in at the permitted rate: ahead of now by what was
        /// asked in a burst (the generic cell rate algorithm).
        var pace = Instant(nanoseconds: 0)
        var windows: [Kind: Window] = [:]
    }

    /// Events of a uid that are alike to a reader of the log.
    enum Kind: Hashable {
        case refusal(Record.Decision)
        case query(Record.Verb)
    }

    /// What was recorded of one kind within a second, and how much was not.
    private struct Window {
        let end: Instant
        var recorded = 0
        var suppressed = 0
        var lastNumber: UInt64 = 0
    }

    private var accounts: [UInt32: Account] = [:]
    /// When `settle` has something to do; nil where it has not. At most once a second.
    private(set) var nextSettling: Instant?
    private static let second: UInt64 = 1_000_000_000

    // MARK: Connections

    /// Whether the uid may have one more connection, which it then has.
    mutating func admitConnection(of uid: UInt32, atMost most: Int) -> Bool {
        guard accounts[uid, default: Account()].connections < most else { return false }
        accounts[uid, default: Account()].connections += 1
        return true
    }

    mutating func endConnection(of uid: UInt32) {
        accounts[uid]?.connections -= 1
        // Who never asked is forgotten here; the others when they are settled.
        if let account = accounts[uid], account.connections == 0, account.windows.isEmpty,
            account.pace == Instant(nanoseconds: 0)
        {
            accounts[uid] = nil
        }
    }

    // MARK: Requests

    /// Nil where the uid may make a request now; else how long it has to wait, in milliseconds. A burst
    /// of as many as it may make in a second is permitted.
    mutating func waitBeforeRequest(of uid: UInt32, perSecond rate: Int, now: Instant) -> Int? {
        let pace = max(accounts[uid]?.pace ?? now, now).nanoseconds + Self.second / UInt64(rate)
        let ahead = pace - now.nanoseconds
        guard ahead <= Self.second else { return Int((ahead - Self.second + 999_999) / 1_000_000) }
        accounts[uid, default: Account()].pace = Instant(nanoseconds: pace)
        expectSettling(now)
        return nil
    }

    // MARK: Records

    /// Whether an event gets a record of its own. Nil: yes. Else it is counted, and known under that number.
    mutating func numberToFoldInto(_ kind: Kind, of uid: UInt32, now: Instant) -> UInt64? {
        let window = accounts[uid]?.windows[kind]
        guard let window, now < window.end, window.recorded >= Limits.refusalRecordsPerSecond else { return nil }
        accounts[uid]?.windows[kind]?.suppressed += 1
        return window.lastNumber
    }

    /// An event got a record of its own.
    mutating func noteRecord(_ kind: Kind, of uid: UInt32, number: UInt64, now: Instant) {
        var window = accounts[uid]?.windows[kind] ?? Window(end: now.after(milliseconds: 1000))
        window.recorded += 1
        window.lastNumber = number
        accounts[uid, default: Account()].windows[kind] = window
        expectSettling(now)
    }

    private mutating func expectSettling(_ now: Instant) {
        if nextSettling == nil { nextSettling = now.after(milliseconds: 1000) }
    }

    /// What was counted instead of recorded, in the windows that have ended. Forgets who is gone.
    mutating func settle(now: Instant, all: Bool = false) -> [(uid: UInt32, kind: Kind, suppressed: Int)] {
        var folded: [(uid: UInt32, kind: Kind, suppressed: Int)] = []
        nextSettling = nil
        for (uid, account) in accounts {
            var account = account
            for (kind, window) in account.windows where all || window.end <= now {
                if window.suppressed > 0 { folded.append((uid, kind, window.suppressed)) }
                account.windows[kind] = nil
            }
            let isQuiet = account.windows.isEmpty && account.pace <= now
            accounts[uid] = isQuiet && account.connections == 0 ? nil : account
            if !isQuiet { expectSettling(now) }
        }
        return folded
    }

    /// The numbers given out in the open windows are no longer true: what they stood for was not recorded.
    mutating func forgetWindows() {
        for uid in accounts.keys { accounts[uid]?.windows = [:] }
    }
}
