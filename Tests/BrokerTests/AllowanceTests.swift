// The limits of each uid, tested with a clock that the test controls.

import Kernel
import Testing
import Wire

@testable import Broker

struct AllowanceTests {
    private let start = Instant(sinceBoot: .seconds(1000))

    @Test func connectionsAreCountedPerUser() {
        let allowance = Allowance()
        let one = allowance.account(of: 1)
        allowance.beginConnection(one, .user)
        allowance.beginConnection(allowance.account(of: 1), .user)
        allowance.beginConnection(allowance.account(of: 2), .stranger)
        #expect(allowance.account(of: 1).connections == 2)
        #expect(allowance.account(of: 2).connections == 1)
        allowance.endConnection(one, .user, now: start)
        #expect(allowance.account(of: 1).connections == 1)
        // A uid without connections is not kept yet.
        #expect(allowance.account(of: 3).connections == 0)
        #expect(allowance.connections == 2)
    }

    /// A channel may outlive the connection that asked for it, and its account is forgotten after both.
    @Test func anAccountIsKeptAsLongAsItHasAChannel() {
        let allowance = Allowance()
        let one = allowance.account(of: 1)
        allowance.beginConnection(one, .user)
        one.channels = 1
        allowance.endConnection(one, .user, now: start)
        #expect(allowance.account(of: 1) === one)
        #expect(allowance.nextForgetting == nil)
        // The end of a channel is noted before it stops counting.
        allowance.noteEndOfChannel(now: start)
        one.channels = 0
        #expect(allowance.nextForgetting == start.after(.seconds(1)))
        allowance.forgetQuiet(now: start.after(.seconds(1)))
        #expect(allowance.account(of: 1) !== one)
        #expect(allowance.nextForgetting == nil)
    }

    @Test func placesAreKeptBackForThoseWhoAreKnown() {
        let capacity = Capacity(total: 64)
        let allowance = Allowance()
        var taken = 0
        func fill(_ standing: Standing) -> Int {
            var count = 0
            while allowance.hasPlace(for: standing, isFirst: true, in: capacity) {
                taken += 1
                count += 1
                allowance.beginConnection(allowance.account(of: UInt32(taken)), standing)
            }
            return count
        }
        #expect(fill(.stranger) == 16)
        #expect(fill(.group) == 32)
        #expect(fill(.user) == 14)
        #expect(fill(.administrator) == 2)
        // All places are taken now. A place that an administrator frees is for administrators only.
        for standing in Standing.allCases { #expect(!allowance.hasPlace(for: standing, isFirst: true, in: capacity)) }
        allowance.endConnection(allowance.account(of: 64), .administrator, now: start)
        #expect(allowance.hasPlace(for: .administrator, isFirst: true, in: capacity))
        #expect(!allowance.hasPlace(for: .user, isFirst: true, in: capacity))
        #expect(!allowance.hasPlace(for: .stranger, isFirst: true, in: capacity))
        // A place that a stranger frees is for anybody.
        allowance.endConnection(allowance.account(of: 1), .stranger, now: start)
        for standing in Standing.allCases { #expect(allowance.hasPlace(for: standing, isFirst: true, in: capacity)) }
        // Administrators that came first do not reduce the share of strangers.
        let empty = Allowance()
        for uid in 0..<10 as Range<UInt32> { empty.beginConnection(empty.account(of: uid), .administrator) }
        #expect(empty.hasPlace(for: .stranger, isFirst: true, in: capacity))
        // Even a capacity of one serves somebody.
        for standing in Standing.allCases where standing > .stranger {
            #expect(Allowance().hasPlace(for: standing, isFirst: true, in: Capacity(total: 1)))
        }
    }

    /// A few uids with many connections leave places for a uid that a line names and that has no connection yet.
    @Test func theFirstConnectionOfANamedUserFindsAPlace() {
        let capacity = Capacity(total: 64)
        let allowance = Allowance()
        let greedy = allowance.account(of: 1)
        var count = 0
        while allowance.hasPlace(for: .user, isFirst: count == 0, in: capacity) {
            allowance.beginConnection(greedy, .user)
            count += 1
        }
        #expect(count == 54)
        #expect(allowance.hasPlace(for: .user, isFirst: true, in: capacity))
    }

    @Test func whatTakesMoreCountsAsMore() {
        let account = UserAccount(.user(1))
        account.charge(15, perSecond: 10, now: start)
        #expect(account.wait(perSecond: 10, now: start) == .milliseconds(600))
        // A debt has an end.
        account.charge(100_000, perSecond: 1, now: start)
        #expect(account.wait(perSecond: 1, now: start) == Limits.longestDebt)
    }

    @Test func aBurstOfASecondsWorthAndThenTheRate() {
        let (one, two) = (UserAccount(.user(1)), UserAccount(.user(2)))
        for _ in 0..<10 { #expect(one.waitBeforeRequest(perSecond: 10, now: start) == nil) }
        #expect(one.waitBeforeRequest(perSecond: 10, now: start) == .milliseconds(100))
        // Neither a refused request nor a check counts as a request.
        #expect(one.waitBeforeRequest(perSecond: 10, now: start) == .milliseconds(100))
        #expect(one.wait(perSecond: 10, now: start) == .milliseconds(100))
        #expect(two.waitBeforeRequest(perSecond: 10, now: start) == nil)
        let later = start.after(.milliseconds(100))
        #expect(one.wait(perSecond: 10, now: later) == nil)
        #expect(one.waitBeforeRequest(perSecond: 10, now: later) == nil)
        #expect(one.waitBeforeRequest(perSecond: 10, now: later) == .milliseconds(100))
    }

    @Test func manyGroupsAreReadForSoManyCallersASecond() {
        let allowance = Allowance()
        func mayRead(_ now: Instant) -> Bool { allowance.mayReadManyGroups(now: now) }
        let most = Limits.callersWithManyGroupsPerSecond
        for _ in 0..<most { #expect(mayRead(start)) }
        #expect(!mayRead(start))
        #expect(mayRead(start.after(.milliseconds(1000 / most))))
    }

    @Test func whoIsGoneIsForgotten() {
        let allowance = Allowance()
        for uid in 0..<1000 as Range<UInt32> {
            let account = allowance.account(of: uid)
            allowance.beginConnection(account, .stranger)
            #expect(account.waitBeforeRequest(perSecond: 1, now: start) == nil)
            allowance.endConnection(account, .stranger, now: start)
            // A uid that comes again keeps its used rate.
            #expect(allowance.account(of: uid).wait(perSecond: 1, now: start) == .seconds(1))
        }
        #expect(allowance.nextForgetting == start.after(.milliseconds(1000)))
        allowance.forgetQuiet(now: start.after(.milliseconds(1000)))
        #expect(allowance.nextForgetting == nil)
        #expect(allowance.account(of: 1).wait(perSecond: 1, now: start) == nil)
    }

    // MARK: Connections that are surplus

    @Test func whoConnectsTooOftenIsToldSoAndThenOnlyCounted() {
        let allowance = Allowance()
        let account = allowance.account(of: 1)
        // Twice as many connections as requests in a second, all of them at once.
        func arrive(_ account: UserAccount, after time: Duration = .zero) -> Duration? {
            allowance.arrive(account, perSecond: 100, now: start.after(time))
        }
        let free = (0..<200).map { _ in arrive(account) }
        #expect(free.allSatisfy { $0 == nil })
        let (wait, afterWait) = (arrive(account), arrive(account, after: .milliseconds(5)))
        #expect(wait == .milliseconds(5))
        #expect(afterWait == nil)
        // Somebody else is not concerned.
        let other = arrive(allowance.account(of: 2))
        #expect(other == nil)

        let answered = (0..<130).map { _ in allowance.mayAnswerRefusal(account, .user, now: start) }
        #expect(answered.count { $0 } == Limits.refusalsPerSecond)
        let surplus = allowance.takeSurplus()
        #expect(surplus.map(\.owner) == [.user(1)])
        #expect(surplus.map(\.count) == [30])
        let (rest, again) = (
            allowance.takeSurplus(), allowance.mayAnswerRefusal(account, .user, now: start.after(.seconds(1)))
        )
        #expect(rest.isEmpty)
        #expect(again)
        // It is forgotten as soon as nothing of this makes a difference.
        allowance.forgetQuiet(now: start.after(.seconds(10)))
        #expect(allowance.nextForgetting == nil)
    }

    @Test func whoIsRefusedComesBackOneAfterTheOther() {
        let account = Allowance().account(of: 1)
        let wait = Duration.milliseconds(10)
        let told = (0..<4).map { _ in account.waitInTurn(wait, perSecond: 100, now: start) }
        #expect(told == [10, 20, 30, 40].map { Duration.milliseconds($0) })
        // Nobody is told more than the longest time, and it is over some time.
        for _ in 0..<1000 { _ = account.waitInTurn(wait, perSecond: 100, now: start) }
        #expect(account.waitInTurn(wait, perSecond: 100, now: start) == Limits.longestPromise)
        #expect(account.waitInTurn(wait, perSecond: 100, now: start.after(.seconds(20))) == wait)
    }

    @Test func whoDoesNotWaitHasAQuarterForASecond() {
        let account = Allowance().account(of: 1)
        #expect(account.requestsPerSecond(of: 100, now: start) == 100)
        account.slowDown(now: start)
        let soon = start.after(Limits.slowed - .milliseconds(1))
        #expect([100, 3].map { account.requestsPerSecond(of: $0, now: soon) } == [25, 1])
        #expect(account.requestsPerSecond(of: 100, now: start.after(Limits.slowed)) == 100)
    }

    /// A crowd that starts at once is not slowed down. Who connects without an end is, until it pauses.
    @Test func whoseConnectionsGetNoReplyForLongIsSlowedDown() {
        let allowance = Allowance()
        let account = allowance.account(of: 1)
        func refuse(until end: Duration, from begin: Duration) {
            for step in Int(begin / .milliseconds(500))..<Int(end / .milliseconds(500)) {
                let now = start.after(.milliseconds(500 * step))
                for _ in 0..<2 * Limits.refusalsPerSecond { _ = allowance.mayAnswerRefusal(account, .user, now: now) }
            }
        }
        let long = Limits.longestCrowd
        refuse(until: long, from: .zero)
        #expect(account.requestsPerSecond(of: 100, now: start.after(long)) == 100)
        refuse(until: long + .seconds(1), from: long)
        #expect(account.requestsPerSecond(of: 100, now: start.after(long + .seconds(1))) == 25)
        #expect(account.requestsPerSecond(of: 100, now: start.after(long + .seconds(3))) == 100)
        refuse(until: long + .seconds(5), from: long + .seconds(4))
        #expect(account.requestsPerSecond(of: 100, now: start.after(long + .seconds(5))) == 100)
    }

    @Test func eachUserHasAShareOfATurn() {
        let account = Allowance().account(of: 1)
        for turn in 1...2 as ClosedRange<UInt64> {
            for _ in 0..<Limits.requestsOfUserPerTurn { #expect(account.takeShare(of: turn)) }
            #expect(!account.takeShare(of: turn))
        }
    }
}
