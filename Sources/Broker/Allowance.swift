// How much each uid may use up: connections at a time, requests a second, replies that it does not read.
//
// Must never let one caller use up another's share, or grow with the number of callers that have gone.

internal import Kernel
internal import Wire

/// How far the daemon knows a caller by its policy: the less, the fewer places are there for it.
package enum Standing: CaseIterable, Sendable {
    /// No line names it.
    case stranger
    /// A line names a group of its; any number of uids can be in one (subordinate uids, user namespaces).
    case group
    /// A line names its uid.
    case user
    /// Root, or the account that the daemon runs as.
    case administrator
}

/// How many connections there may be, and how many of them are kept back.
package struct Capacity: Sendable {
    package let total: Int

    package init(total: Int) { self.total = total }

    /// Up to how many connections of that standing or a lower one there may be.
    func places(for standing: Standing) -> Int {
        switch standing {
        case .stranger: max(1, total / 4)
        case .group: max(1, total / 4 * 3)
        case .user: total - min(Limits.administratorsPlaces, total / 32)
        case .administrator: total
        }
    }

    /// How many connections a uid may have, where no line says anything, and how many replies it may leave unread.
    var connectionsPerUser: Int { min(Limits.connectionsPerUser, max(1, total / 4)) }
    var unreadPerUser: Int { min(Limits.unreadPerUser, max(1, total / 4)) }
}

/// The account of every uid that is connected or was a moment ago.
struct Allowance {
    private struct Account {
        var connections = 0
        /// Replies with descriptors that are not known to have been read.
        var unread = 0
        /// When the requests so far would have come in at the permitted rate: ahead of now by what was
        /// asked in a burst (the generic cell rate algorithm).
        var pace = Instant.boot
    }

    private var accounts: [UInt32: Account] = [:]
    private var held = [Int](repeating: 0, count: Standing.allCases.count)
    /// As `pace`, for all callers with very many groups that only a group could make known.
    private var groupsPace = Instant.boot
    /// When `forgetQuiet` has something to do; nil where it has not.
    private(set) var nextForgetting: Instant?
    private static let second = Duration.seconds(1)

    // MARK: Connections

    /// Of all uids together.
    var connections: Int { held.reduce(0, +) }

    func connections(of uid: UInt32) -> Int { accounts[uid]?.connections ?? 0 }

    /// Whether there is a place left for a caller of that standing.
    func hasPlace(for standing: Standing, in capacity: Capacity) -> Bool {
        // In the order of the standings, each of which may fill what those before it may, and more.
        var (sum, reached) = (0, false)
        for each in Standing.allCases {
            sum += held[each.index]
            reached = reached || each == standing
            if reached, sum >= capacity.places(for: each) { return false }
        }
        return true
    }

    mutating func beginConnection(of uid: UInt32, _ standing: Standing) {
        accounts[uid, default: Account()].connections += 1
        held[standing.index] += 1
    }

    mutating func endConnection(of uid: UInt32, _ standing: Standing) {
        accounts[uid]?.connections -= 1
        held[standing.index] -= 1
        // Who never asked is forgotten here; the others by and by.
        if let account = accounts[uid], account.connections == 0, account.pace == Instant.boot {
            accounts[uid] = nil
        }
    }

    // MARK: Unread replies

    func unread(of uid: UInt32) -> Int { accounts[uid]?.unread ?? 0 }

    mutating func addUnread(of uid: UInt32) { accounts[uid, default: Account()].unread += 1 }

    mutating func removeUnread(of uid: UInt32) { accounts[uid]?.unread -= 1 }

    // MARK: Requests

    /// Nil where the uid may make a request now, which it then has; else how long it has to wait. A
    /// burst of as many as it may make in a second is permitted.
    mutating func waitBeforeRequest(of uid: UInt32, perSecond rate: Int, now: Instant) -> Duration? {
        if let wait = wait(of: uid, perSecond: rate, now: now) { return wait }
        accounts[uid, default: Account()].pace = paceWithOneMore(of: uid, perSecond: rate, now)
        if nextForgetting == nil { nextForgetting = now.after(Self.second) }
        return nil
    }

    /// The same without making the request.
    func wait(of uid: UInt32, perSecond rate: Int, now: Instant) -> Duration? {
        let ahead = now.until(paceWithOneMore(of: uid, perSecond: rate, now))
        return ahead <= Self.second ? nil : ahead - Self.second
    }

    private func paceWithOneMore(of uid: UInt32, perSecond rate: Int, _ now: Instant) -> Instant {
        max(accounts[uid]?.pace ?? now, now).after(Self.second / rate)
    }

    /// Whether the groups of one more caller who has very many may be read now.
    mutating func mayReadManyGroups(now: Instant) -> Bool {
        let pace = max(groupsPace, now).after(Self.second / Limits.callersWithManyGroupsPerSecond)
        guard now.until(pace) <= Self.second else { return false }
        groupsPace = pace
        return true
    }

    /// Forgets uids that are gone and whose pace makes no difference any more.
    mutating func forgetQuiet(now: Instant) {
        accounts = accounts.filter { $0.value.connections > 0 || $0.value.pace > now }
        let isSettled = accounts.values.allSatisfy { $0.pace <= now }
        nextForgetting = isSettled ? nil : now.after(Self.second)
    }
}

extension Standing {
    fileprivate var index: Int {
        switch self {
        case .stranger: 0
        case .group: 1
        case .user: 2
        case .administrator: 3
        }
    }
}
