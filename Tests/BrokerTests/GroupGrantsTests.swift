// How many keys many uids of a group get, with a clock in hand.

import Kernel
import Testing
import Wire

@testable import Broker

struct GroupGrantsTests {
    private let start = Instant(sinceBoot: .seconds(1000))

    /// Whether the uid gets a key.
    private func get(_ account: UserAccount, _ grants: inout GroupGrants, _ now: Instant) -> Bool {
        guard grants.wait(of: account, now: now) == nil else { return false }
        grants.count(account, now: now)
        return true
    }

    @Test func aFewOfEachUserAndThenAShare() {
        var grants = GroupGrants()
        let accounts = (0..<500 as Range<UInt32>).map { UserAccount(.user($0)) }
        var granted = 0
        for account in accounts {
            for _ in 0..<100 where get(account, &grants, start) { granted += 1 }
        }
        #expect(granted == 500 * Int(Limits.freeGroupGrants) + Limits.groupGrantsAtOnce)
        // Whoever had none gets its own all the same, and they come back in an hour at the latest.
        var first = 0
        for _ in 0..<10 where get(UserAccount(.user(9999)), &grants, start) { first += 1 }
        #expect(first == Int(Limits.freeGroupGrants))
        let later = start.after(.seconds(3700))
        let again = get(UserAccount(.user(1)), &grants, later)
        #expect(again)
    }

    /// A member that asks as often as it may does not starve another that asks now and then.
    @Test func oneUserDoesNotUseUpTheShare() {
        var grants = GroupGrants()
        let greedy = (0..<6 as Range<UInt32>).map { UserAccount(.user($0)) }
        let modest = UserAccount(.user(100))
        var got = 0
        for step in 0..<600 {
            let now = start.after(.milliseconds(10 * step))
            for account in greedy { _ = get(account, &grants, now) }
            if step.isMultiple(of: 100), get(modest, &grants, now) { got += 1 }
        }
        #expect(got == 6)
        // The greedy have no more than half of the share.
        for account in greedy {
            let wait = grants.wait(of: account, now: start.after(.seconds(6)))
            #expect(wait != nil)
        }
        // Alone, one may have that half, and what comes anew.
        var alone = GroupGrants()
        var had = 0
        for _ in 0..<2000 where get(greedy[0], &alone, start.after(.seconds(100))) { had += 1 }
        #expect(had >= Limits.groupGrantsAtOnce / 2)
    }

    @Test func whatIsNotGrantedIsNotCounted() {
        var grants = GroupGrants()
        let account = UserAccount(.user(1))
        for _ in 0..<10_000 {
            let wait = grants.wait(of: account, now: start)
            #expect(wait == nil)
        }
    }

    @Test func whatIsRememberedIsBounded() {
        var grants = GroupGrants()
        var granted = 0
        for uid in 0..<102_000 as Range<UInt32> where get(UserAccount(.user(uid)), &grants, start) { granted += 1 }
        #expect(granted == Limits.freeGroupGrantUsers + Limits.groupGrantsAtOnce)
    }
}
