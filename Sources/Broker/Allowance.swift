// Counts what each uid, or each unit, uses: open connections, requests per second, and replies that it does not read.
//
// Must never let one caller use up another's share, or grow with the number of callers that have left.

internal import Kernel
internal import Wire

/// How well the policy identifies a caller. A lower standing has fewer places.
package enum Standing: Int, CaseIterable, Comparable, Sendable {
    /// No line of the policy names it.
    case stranger
    /// A line names one of its groups. Any number of uids can be in one group (subordinate uids, user namespaces).
    case group
    /// A line permits a key to its unit, whatever its uid. What such callers use is counted for the unit: a uid may be
    /// new each time (`DynamicUser=`), and a unit can have many.
    case unit
    /// A line names its uid.
    case user
    /// Root, or the account that the daemon runs as.
    case administrator

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// How many connections there may be, and how many of the places are reserved.
package struct Capacity: Sendable {
    package let total: Int

    package init(total: Int) { self.total = total }

    /// Places reserved for uids and units that lines of the policy name and that have no connection yet.
    private var firstPlaces: Int { total / 8 }

    /// How many connections of this standing or a lower one there may be in total.
    /// - Parameter isFirst: true if the uid or unit has no connection yet.
    func places(for standing: Standing, isFirst: Bool) -> Int {
        let places = places(for: standing)
        return switch standing {
        case .group, .unit, .user: isFirst ? places : places - firstPlaces
        case .stranger, .administrator: places
        }
    }

    private func places(for standing: Standing) -> Int {
        switch standing {
        case .stranger: total / 4
        case .group: total < 4 ? total : total / 4 * 3
        case .unit, .user: total - min(Limits.administratorsPlaces, total / 32)
        case .administrator: total
        }
    }

    /// The limits for one uid: its connections and watches if no line of the policy sets others, and its unread replies.
    var connectionsPerUser: Int { min(Limits.connectionsPerUser, max(1, total / 4)) }
    var unreadPerUser: Int { min(Limits.unreadPerUser, max(1, total / 4)) }
    var watchesPerUser: Int { min(Limits.watchesPerUser, max(1, total / 8)) }
}

/// For whom something is counted.
enum AccountOwner: Hashable {
    case user(UInt32)
    case unit(String)
}

/// What one uid or unit uses up. Each of its clients holds a reference, so that a request needs no lookup.
final class UserAccount {
    let owner: AccountOwner
    fileprivate(set) var connections = 0
    /// Replies with file descriptors that are not known to have been read.
    var unread = 0
    var watches = 0
    /// When the daemon last checked whether unread replies were read.
    var lookedAt = Instant.boot
    private var requests = Pace()
    /// Grants that only a group permits, beyond the free ones.
    var sharedGrants = Pace()

    init(_ owner: AccountOwner) { self.owner = owner }

    /// Whether what it has used still makes a difference.
    fileprivate func isBusy(_ now: Instant) -> Bool { requests.isBusy(now) || sharedGrants.isBusy(now) }

    /// Counts a request and returns nil if the uid may make one now. Else returns how long it must wait, and counts
    /// nothing.
    func waitBeforeRequest(perSecond rate: Int, now: Instant) -> Duration? {
        requests.take(Rate(perSecond: rate), now)
    }

    /// The same check, but no request is counted.
    func wait(perSecond rate: Int, now: Instant) -> Duration? { requests.wait(Rate(perSecond: rate), now) }

    /// Counts something that cost as much as this number of additional requests.
    func charge(_ number: Int, perSecond rate: Int, now: Instant) {
        requests.charge(number, Rate(perSecond: rate), upTo: Limits.longestDebt, now)
    }
}

/// The accounts of all uids and units that are connected or were connected a moment ago.
struct Allowance {
    private var accounts: [AccountOwner: UserAccount] = [:]
    private var held = [Int](repeating: 0, count: Standing.allCases.count)
    /// The rate limit that all callers with very many groups share if only a group could make them known.
    private var manyGroups = Pace()
    /// When `forgetQuiet` next has something to do, or nil if it has nothing.
    private(set) var nextForgetting: Instant?

    // MARK: Connections

    /// The connections of all uids together.
    var connections: Int { held.reduce(0, +) }

    /// The account of a uid or unit. A new account is kept only once its first connection begins.
    func account(of owner: AccountOwner) -> UserAccount { accounts[owner] ?? UserAccount(owner) }
    func account(of uid: UInt32) -> UserAccount { account(of: .user(uid)) }

    /// Whether there is a place left for a caller of this standing.
    func hasPlace(for standing: Standing, isFirst: Bool, in capacity: Capacity) -> Bool {
        // In the order of the standings, each of which may fill what those before it may, and more.
        !Standing.allCases[standing.rawValue...].contains { standing in
            let sum = held[...standing.rawValue].reduce(0, +)
            return sum >= capacity.places(for: standing, isFirst: isFirst)
        }
    }

    mutating func beginConnection(_ account: UserAccount, _ standing: Standing) {
        accounts[account.owner] = account
        account.connections += 1
        held[standing.rawValue] += 1
    }

    mutating func endConnection(_ account: UserAccount, _ standing: Standing, now: Instant) {
        account.connections -= 1
        held[standing.rawValue] -= 1
        guard account.connections == 0 else { return }
        // The rate limit must outlive the connection for a moment. A uid that made no request can be forgotten now.
        if !account.isBusy(now) { accounts[account.owner] = nil } else { expectForgetting(now) }
    }

    private mutating func expectForgetting(_ now: Instant) {
        if nextForgetting == nil { nextForgetting = now.after(.seconds(1)) }
    }

    /// Forgets uids that have no connection and whose rate limit no longer matters.
    mutating func forgetQuiet(now: Instant) {
        accounts = accounts.filter { $0.value.connections > 0 || $0.value.isBusy(now) }
        nextForgetting = nil
        if accounts.values.contains(where: { $0.connections == 0 }) { expectForgetting(now) }
    }

    // MARK: Groups

    /// Whether the daemon may now read the groups of one more caller that has very many. If so, it is counted.
    mutating func mayReadManyGroups(now: Instant) -> Bool {
        manyGroups.take(Rate(perSecond: Limits.callersWithManyGroupsPerSecond), now) == nil
    }
}
