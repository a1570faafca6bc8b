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

extension Standing {
    /// The crowd with which records about such a caller are counted. Nil if it is counted alone: a line names its uid, or
    /// it is an administrator.
    var crowd: Folding.Crowd? {
        switch self {
        case .stranger: .strangers
        case .group: .groups
        case .unit: .units
        case .user, .administrator: nil
        }
    }
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
    /// Signing channels, open or asked for.
    var channels = 0
    /// The signer's name for it. 0 if it has none yet.
    fileprivate var signerNumber: UInt32 = 0
    /// When the daemon last checked whether unread replies were read.
    var lookedAt = Instant.boot
    private var requests = Pace()
    /// Connections, whether they may stay or not, and those of them that were refused with a reply.
    fileprivate var arrivals = Pace(), refusals = Pace()
    /// Connections that were closed without a reply and are not counted in the log yet.
    fileprivate var surplus = 0, standingOfSurplus = Standing.stranger
    /// When the caller that was refused last was told to come back.
    private var promised = Instant.boot
    /// Until when it has fewer requests, because it does not wait as it is told.
    private var slowedUntil = Instant.boot
    /// Since when connections of it are closed without a reply, and when the last one was.
    private var flood = (since: Instant.boot, last: Instant.boot)
    /// Grants that only a group permits, beyond the free ones.
    var sharedGrants = Pace()

    /// How many requests were answered in the turn of this number, before those of others.
    private var share = (turn: UInt64(0), used: 0)

    init(_ owner: AccountOwner) { self.owner = owner }

    func takeShare(of turn: UInt64) -> Bool {
        if share.turn != turn { share = (turn, 0) }
        guard share.used < Limits.requestsOfUserPerTurn else { return false }
        share.used += 1
        return true
    }

    /// Whether it has anything open.
    fileprivate var hasOpen: Bool { connections > 0 || channels > 0 }

    /// Whether what it has used still makes a difference.
    fileprivate func isBusy(_ now: Instant) -> Bool {
        requests.isBusy(now) || sharedGrants.isBusy(now) || arrivals.isBusy(now) || refusals.isBusy(now)
    }

    /// Counts a request and returns nil if the uid may make one now. Else returns how long it must wait, and counts
    /// nothing.
    func waitBeforeRequest(perSecond rate: Int, now: Instant) -> Duration? {
        requests.take(Rate(perSecond: rate), now)
    }

    /// One of its clients asked again before the moment that it was told.
    func slowDown(now: Instant) { slowedUntil = now.after(Limits.slowed) }

    /// A connection of it was closed without a reply. A crowd that starts at once has such connections too, so it is slowed
    /// down only after a while.
    fileprivate func noteSurplus(now: Instant) {
        if flood.last.after(Limits.slowed) < now { flood.since = now }
        flood.last = now
        if flood.since.after(Limits.longestCrowd) <= now { slowDown(now: now) }
    }

    /// How many requests it may make in a second now.
    /// - Parameter rate: how many it may make if its clients wait as they are told.
    func requestsPerSecond(of rate: Int, now: Instant) -> Int {
        slowedUntil > now ? max(1, rate / Limits.slowedPart) : rate
    }

    /// How long a caller is told to wait that makes one request too many. Callers that are refused one after the other
    /// are told one moment after the other, so that they do not all come back at once.
    /// - Parameter wait: how long it takes until the uid may make one more request.
    func waitInTurn(_ wait: Duration, perSecond rate: Int, now: Instant) -> Duration {
        let turn = max(now.after(wait), promised.after(Rate(perSecond: rate).interval))
        promised = min(turn, now.after(max(wait, Limits.longestPromise)))
        return now.until(promised)
    }

    /// The same check, but no request is counted.
    func wait(perSecond rate: Int, now: Instant) -> Duration? { requests.wait(Rate(perSecond: rate), now) }

    /// Counts something that cost as much as this number of additional requests.
    func charge(_ number: Int, perSecond rate: Int, now: Instant) {
        requests.charge(number, Rate(perSecond: rate), upTo: Limits.longestDebt, now)
    }
}

/// The accounts of all uids and units that are connected or were connected a moment ago.
final class Allowance {
    private var accounts: [AccountOwner: UserAccount] = [:]
    private var held = [Int](repeating: 0, count: Standing.allCases.count)
    /// The rate limit that all callers with very many groups share if only a group could make them known.
    private var manyGroups = Pace()
    /// The accounts whose `surplus` is not zero.
    private var withSurplus: [UserAccount] = []
    private var lastSignerNumber: UInt32 = 0
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
        var sum = 0
        for other in Standing.allCases {
            sum += held[other.rawValue]
            if other >= standing, sum >= capacity.places(for: other, isFirst: isFirst) { return false }
        }
        return true
    }

    /// Counts a connection of a uid before anything else is asked about it.
    /// - Parameter rate: how many requests the uid may make in a second. It needs no more connections than that, but
    ///   who was refused once comes again.
    /// - Returns: how long the uid must wait if it connects too often, else nil.
    func arrive(_ account: UserAccount, perSecond rate: Int, now: Instant) -> Duration? {
        accounts[account.owner] = account
        expectForgetting(now)
        return account.arrivals.take(Rate(perSecond: rate * 2), now)
    }

    /// Whether a refused connection gets a reply. If not, it is counted, and the reply would cost more than the
    /// connection.
    func mayAnswerRefusal(_ account: UserAccount, _ standing: Standing, now: Instant) -> Bool {
        if account.refusals.take(Rate(perSecond: Limits.refusalsPerSecond), now) == nil { return true }
        account.noteSurplus(now: now)
        if account.surplus == 0 { withSurplus.append(account) }
        account.surplus += 1
        account.standingOfSurplus = standing
        return false
    }

    /// Returns the uids and units that had connections closed without a reply, each with their number, and forgets the
    /// numbers.
    func takeSurplus() -> [(owner: AccountOwner, standing: Standing, count: Int)] {
        guard !withSurplus.isEmpty else { return [] }
        defer { withSurplus.removeAll(keepingCapacity: true) }
        return withSurplus.map { account in
            defer { account.surplus = 0 }
            return (account.owner, account.standingOfSurplus, account.surplus)
        }
    }

    /// The signer's name for an account: all channels of one have one turn together.
    func number(of account: UserAccount) -> UInt32 {
        if account.signerNumber == 0 {
            lastSignerNumber &+= 1
            account.signerNumber = max(1, lastSignerNumber)
        }
        return account.signerNumber
    }

    func beginConnection(_ account: UserAccount, _ standing: Standing) {
        accounts[account.owner] = account
        account.connections += 1
        held[standing.rawValue] += 1
    }

    func endConnection(_ account: UserAccount, _ standing: Standing, now: Instant) {
        account.connections -= 1
        held[standing.rawValue] -= 1
        guard !account.hasOpen else { return }
        // The rate limit must outlive the connection for a moment. A uid that made no request can be forgotten now.
        if !account.isBusy(now) { accounts[account.owner] = nil } else { expectForgetting(now) }
    }

    /// A channel has ended. It counts until it goes, so its account is looked at a moment later.
    func noteEndOfChannel(now: Instant) { expectForgetting(now) }

    private func expectForgetting(_ now: Instant) {
        if nextForgetting == nil { nextForgetting = now.after(.seconds(1)) }
    }

    /// Forgets uids that have no connection and whose rate limit no longer matters.
    func forgetQuiet(now: Instant) {
        accounts = accounts.filter { $0.value.hasOpen || $0.value.isBusy(now) }
        nextForgetting = nil
        if accounts.values.contains(where: { !$0.hasOpen }) { expectForgetting(now) }
    }

    // MARK: Groups

    /// Whether the daemon may now read the groups of one more caller that has very many. If so, it is counted.
    func mayReadManyGroups(now: Instant) -> Bool {
        manyGroups.take(Rate(perSecond: Limits.callersWithManyGroupsPerSecond), now) == nil
    }
}
