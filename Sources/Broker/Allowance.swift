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

    /// Kept for uids that lines name and that have no connection yet.
    private var firstPlaces: Int { total / 8 }

    /// Up to how many connections of that standing or a lower one there may be.
    /// - Parameter isFirst: the uid has none yet.
    func places(for standing: Standing, isFirst: Bool) -> Int {
        standing == .user && !isFirst ? places(for: standing) - firstPlaces : places(for: standing)
    }

    private func places(for standing: Standing) -> Int {
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

/// What one uid uses up. Its clients hold it, so that a request looks for nothing.
final class UserAccount {
    let uid: UInt32
    fileprivate(set) var connections = 0
    /// Replies with descriptors that are not known to have been read.
    var unread = 0
    /// When it was last looked whether some of them were.
    var lookedAt = Instant.boot
    /// When the requests so far would have come in at the permitted rate: ahead of now by what was
    /// asked in a burst (the generic cell rate algorithm).
    fileprivate var pace = Instant.boot

    init(uid: UInt32) { self.uid = uid }

    private static let second = Duration.seconds(1)

    /// Nil if the uid may make a request now, which it then has; else how long it has to wait. A burst of as many as it
    /// may make in a second is permitted.
    func waitBeforeRequest(perSecond rate: Int, now: Instant) -> Duration? {
        let next = max(pace, now).after(Self.second / rate)
        let ahead = now.until(next)
        guard ahead <= Self.second else { return ahead - Self.second }
        pace = next
        return nil
    }

    /// The same without making the request.
    func wait(perSecond rate: Int, now: Instant) -> Duration? {
        let before = pace
        defer { pace = before }
        return waitBeforeRequest(perSecond: rate, now: now)
    }

    /// Counts what took as much as so many requests more.
    func charge(_ requests: Int, perSecond rate: Int, now: Instant) {
        pace = max(pace, now).after(Self.second / rate * requests)
    }
}

/// The account of every uid that is connected or was a moment ago.
struct Allowance {
    private var accounts: [UInt32: UserAccount] = [:]
    private var held = [Int](repeating: 0, count: Standing.allCases.count)
    /// As an account's pace, for all callers with very many groups that only a group could make known.
    private let manyGroups = UserAccount(uid: .max)
    /// When `forgetQuiet` has something to do; nil where it has not.
    private(set) var nextForgetting: Instant?

    // MARK: Connections

    /// Of all uids together.
    var connections: Int { held.reduce(0, +) }

    /// That of a uid; a new one, which counts once a connection of it begins.
    func account(of uid: UInt32) -> UserAccount { accounts[uid] ?? UserAccount(uid: uid) }

    /// Whether there is a place left for a caller of that standing.
    func hasPlace(for standing: Standing, isFirst: Bool, in capacity: Capacity) -> Bool {
        // In the order of the standings, each of which may fill what those before it may, and more.
        let first = standing.index
        return !(first..<held.count).contains { index in
            let sum = held[...index].reduce(0, +)
            return sum >= capacity.places(for: Standing.inOrder[index], isFirst: isFirst)
        }
    }

    mutating func beginConnection(_ account: UserAccount, _ standing: Standing) {
        accounts[account.uid] = account
        account.connections += 1
        held[standing.index] += 1
    }

    mutating func endConnection(_ account: UserAccount, _ standing: Standing, now: Instant) {
        account.connections -= 1
        held[standing.index] -= 1
        guard account.connections == 0 else { return }
        // Its pace counts for a moment; who never asked is forgotten here.
        if account.pace <= now { accounts[account.uid] = nil } else { expectForgetting(now) }
    }

    private mutating func expectForgetting(_ now: Instant) {
        if nextForgetting == nil { nextForgetting = now.after(.seconds(1)) }
    }

    /// Forgets uids that are gone and whose pace makes no difference any more.
    mutating func forgetQuiet(now: Instant) {
        accounts = accounts.filter { $0.value.connections > 0 || $0.value.pace > now }
        nextForgetting = nil
        if accounts.values.contains(where: { $0.connections == 0 }) { expectForgetting(now) }
    }

    // MARK: Groups

    /// Whether the groups of one more caller who has very many may be read now.
    func mayReadManyGroups(now: Instant) -> Bool {
        manyGroups.waitBeforeRequest(perSecond: Limits.callersWithManyGroupsPerSecond, now: now) == nil
    }
}

extension Standing {
    fileprivate static let inOrder = Standing.allCases

    fileprivate var index: Int {
        switch self {
        case .stranger: 0
        case .group: 1
        case .user: 2
        case .administrator: 3
        }
    }
}
