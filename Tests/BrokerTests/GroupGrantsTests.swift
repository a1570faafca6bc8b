// How many keys the uids of a group get together, tested with a clock that the test controls.

import Kernel
import Testing
import Wire

@testable import Broker

struct GroupGrantsTests {
    private let start = Instant(sinceBoot: .seconds(1000))

    @Test func theFirstOfEachUserAndThenAShare() {
        var grants = GroupGrants()
        for uid in 0..<5000 as Range<UInt32> {
            let wait = grants.wait(of: uid, now: start)
            #expect(wait == nil)
        }
        var granted = 0
        for uid in 0..<5000 as Range<UInt32> where grants.wait(of: uid, now: start) == nil { granted += 1 }
        #expect(granted == Limits.groupGrantsAtOnce)
        let wait = grants.wait(of: 1, now: start)
        #expect(wait == .milliseconds(1000 / Limits.groupGrantsPerSecond))
        // A uid that had no key yet still gets its first one.
        let first = grants.wait(of: 9999, now: start)
        #expect(first == nil)
        // A uid is remembered for at least half an hour and at most an hour.
        let half = start.after(.seconds(1700))
        _ = grants.wait(of: 8888, now: half)
        for uid in 0..<5000 as Range<UInt32> { _ = grants.wait(of: uid, now: half) }
        let again = grants.wait(of: 8888, now: half.after(.seconds(200)))
        _ = again
        let later = grants.wait(of: 8888, now: half.after(.seconds(5500)))
        #expect(later == nil)
    }

    @Test func whatIsRememberedIsBounded() {
        var grants = GroupGrants()
        var granted = 0
        for uid in 0..<200_000 as Range<UInt32> where grants.wait(of: uid, now: start) == nil { granted += 1 }
        #expect(granted == Limits.firstGrants + Limits.groupGrantsAtOnce)
    }
}
