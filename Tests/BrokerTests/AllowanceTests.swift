// How much each uid may use up, with a clock in hand.

import Kernel
import Testing
import Wire

@testable import Broker

struct AllowanceTests {
    private let start = Instant(sinceBoot: .seconds(1000))

    @Test func connectionsAreCountedPerUser() {
        var allowance = Allowance()
        allowance.beginConnection(of: 1, .user)
        allowance.beginConnection(of: 1, .user)
        allowance.beginConnection(of: 2, .stranger)
        #expect(allowance.connections(of: 1) == 2)
        #expect(allowance.connections(of: 2) == 1)
        allowance.endConnection(of: 1, .user)
        #expect(allowance.connections(of: 1) == 1)
        #expect(allowance.connections(of: 3) == 0)
    }

    @Test func placesAreKeptBackForThoseWhoAreKnown() {
        let capacity = Capacity(total: 64)
        var allowance = Allowance()
        var taken = 0
        func fill(_ standing: Standing) -> Int {
            var count = 0
            while allowance.hasPlace(for: standing, in: capacity) {
                taken += 1
                count += 1
                allowance.beginConnection(of: UInt32(taken), standing)
            }
            return count
        }
        #expect(fill(.stranger) == 16)
        #expect(fill(.group) == 32)
        #expect(fill(.user) == 14)
        #expect(fill(.administrator) == 2)
        // Nobody finds a place then; the one that an administrator leaves is for administrators.
        for standing in Standing.allCases { #expect(!allowance.hasPlace(for: standing, in: capacity)) }
        allowance.endConnection(of: 64, .administrator)
        #expect(allowance.hasPlace(for: .administrator, in: capacity))
        #expect(!allowance.hasPlace(for: .user, in: capacity))
        #expect(!allowance.hasPlace(for: .stranger, in: capacity))
        // The one that a stranger leaves is for anybody.
        allowance.endConnection(of: 1, .stranger)
        for standing in Standing.allCases { #expect(allowance.hasPlace(for: standing, in: capacity)) }
        // Administrators who came first take nothing away from the share of strangers.
        var empty = Allowance()
        for uid in 0..<10 as Range<UInt32> { empty.beginConnection(of: uid, .administrator) }
        #expect(empty.hasPlace(for: .stranger, in: capacity))
        // However few there are, somebody is served.
        for standing in Standing.allCases { #expect(Allowance().hasPlace(for: standing, in: Capacity(total: 1))) }
    }

    @Test func aBurstOfASecondsWorthAndThenTheRate() {
        var allowance = Allowance()
        for _ in 0..<10 { #expect(allowance.waitBeforeRequest(of: 1, perSecond: 10, now: start) == nil) }
        #expect(allowance.waitBeforeRequest(of: 1, perSecond: 10, now: start) == .milliseconds(100))
        // Being refused costs nothing, and neither does asking.
        #expect(allowance.waitBeforeRequest(of: 1, perSecond: 10, now: start) == .milliseconds(100))
        #expect(allowance.wait(of: 1, perSecond: 10, now: start) == .milliseconds(100))
        #expect(allowance.waitBeforeRequest(of: 2, perSecond: 10, now: start) == nil)
        let later = start.after(.milliseconds(100))
        #expect(allowance.waitBeforeRequest(of: 1, perSecond: 10, now: later) == nil)
        #expect(allowance.waitBeforeRequest(of: 1, perSecond: 10, now: later) == .milliseconds(100))
    }

    @Test func manyGroupsAreReadForSoManyCallersASecond() {
        var allowance = Allowance()
        let most = Limits.callersWithManyGroupsPerSecond
        for _ in 0..<most { #expect(allowance.mayReadManyGroups(now: start) == true) }
        #expect(allowance.mayReadManyGroups(now: start) == false)
        #expect(allowance.mayReadManyGroups(now: start.after(.milliseconds(1000 / most))) == true)
    }

    @Test func whoIsGoneIsForgotten() {
        var allowance = Allowance()
        for uid in 0..<1000 as Range<UInt32> {
            allowance.beginConnection(of: uid, .stranger)
            #expect(allowance.waitBeforeRequest(of: uid, perSecond: 1, now: start) == nil)
            allowance.endConnection(of: uid, .stranger)
        }
        #expect(allowance.nextForgetting == start.after(.milliseconds(1000)))
        allowance.forgetQuiet(now: start.after(.milliseconds(1000)))
        #expect(allowance.nextForgetting == nil)
    }
}
