import Audit
import Kernel
import Testing
import Wire

@testable import Broker

struct AllowanceTests {
    private let start = Instant(nanoseconds: 1_000_000_000_000)

    @Test func connectionsAreCountedPerUser() {
        var allowance = Allowance()
        #expect(allowance.admitConnection(of: 1, atMost: 2) == true)
        #expect(allowance.admitConnection(of: 1, atMost: 2) == true)
        #expect(allowance.admitConnection(of: 1, atMost: 2) == false)
        #expect(allowance.admitConnection(of: 2, atMost: 2) == true)
        allowance.endConnection(of: 1)
        #expect(allowance.admitConnection(of: 1, atMost: 2) == true)
    }

    @Test func aBurstOfASecondsWorthAndThenTheRate() {
        var allowance = Allowance()
        for _ in 0..<10 { #expect(allowance.waitBeforeRequest(of: 1, perSecond: 10, now: start) == nil) }
        #expect(allowance.waitBeforeRequest(of: 1, perSecond: 10, now: start) == 100)
        // Being refused costs nothing.
        #expect(allowance.waitBeforeRequest(of: 1, perSecond: 10, now: start) == 100)
        #expect(allowance.waitBeforeRequest(of: 2, perSecond: 10, now: start) == nil)
        let later = start.after(milliseconds: 100)
        #expect(allowance.waitBeforeRequest(of: 1, perSecond: 10, now: later) == nil)
        #expect(allowance.waitBeforeRequest(of: 1, perSecond: 10, now: later) == 100)
    }

    @Test func refusalsAreFoldedAndSettled() {
        var allowance = Allowance()
        let kind = Allowance.Kind.refusal(.denied)
        for number in 1...UInt64(Limits.refusalRecordsPerSecond) {
            #expect(allowance.numberToFoldInto(kind, of: 1, now: start) == nil)
            allowance.noteRecord(kind, of: 1, number: number, now: start)
        }
        for _ in 0..<5 {
            #expect(allowance.numberToFoldInto(kind, of: 1, now: start) == UInt64(Limits.refusalRecordsPerSecond))
        }
        // Others, and events of another kind, have records of their own.
        #expect(allowance.numberToFoldInto(kind, of: 2, now: start) == nil)
        #expect(allowance.numberToFoldInto(.refusal(.busy), of: 1, now: start) == nil)
        #expect(allowance.nextSettling == start.after(milliseconds: 1000))
        let folded = allowance.settle(now: start.after(milliseconds: 1000))
        #expect(folded.map(\.suppressed) == [5])
        #expect(allowance.nextSettling == nil)
    }

    @Test func whoIsGoneIsForgotten() {
        var allowance = Allowance()
        for uid in 0..<1000 as Range<UInt32> {
            #expect(allowance.admitConnection(of: uid, atMost: 1) == true)
            #expect(allowance.waitBeforeRequest(of: uid, perSecond: 1, now: start) == nil)
            allowance.endConnection(of: uid)
        }
        _ = allowance.settle(now: start.after(milliseconds: 1000))
        #expect(allowance.nextSettling == nil)
    }
}
