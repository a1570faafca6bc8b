// What is remembered of keys that have left the policy, and how it is forgotten.

import Audit
import Kernel
import Testing
import Wire

@testable import Broker

struct SweepTests {
    private func name(_ number: Int) throws -> KeyName { try #require(KeyName("k\(number)")) }

    @Test func countsAreForgottenInSteps() throws {
        var tally = Tally()
        var record = Record(.request)
        (record.verb, record.decision, record.reason) = (.get, .granted, .permitted)
        let all = Limits.namesPerSweep * 2 + 1
        for number in 0..<all { tally.note(record, try name(number)) }
        tally.commit()
        tally.count()
        #expect(tally.names(after: nil).count == all)
        let kept = Set(try (0..<10).map(name))
        tally.beginSweep()
        for step in 1...3 {
            #expect(!tally.isSwept)
            tally.sweep(butNot: kept.contains)
            #expect(step == 3 || tally.keys.count > 10)
        }
        #expect(tally.isSwept)
        #expect(Set(tally.keys.keys) == kept)
        // A key that comes back is counted from nothing.
        tally.note(record, try name(500))
        tally.commit()
        tally.count()
        #expect(tally.keys[try name(500)]?.granted == 1)
        #expect(tally.names(after: nil).count == 11)
    }

    /// The status has no key that is not in the policy, whether it is forgotten yet or not.
    @Test func theStatusHasOnlyKeysOfThePolicy() throws {
        let keys = (0...Limits.namesPerSweep).map { "key k\($0) /k\npermit 1001 key k\($0)\n" }.joined()
        let bench = try Bench("limit 1001 requests 1000000\n" + keys)
        let (peer, root) = (FakePeer(uid: 1001), FakePeer(uid: 0))
        let client = try #require(try bench.admit(peer))
        for number in 0...Limits.namesPerSweep {
            _ = bench.broker.commit([try bench.ask("1Gk\(number)", client, peer)])
        }
        bench.broker.count()
        func counted() throws -> [String] {
            guard case .status(let page) = try bench.reply("1S", root) else { return ["no status"] }
            return page.values(.key).map { String($0.prefix { $0 != " " }) }
        }
        #expect(try counted().count > 3)
        try bench.reload("key k1 /k\npermit 1001 key k1\n")
        #expect(bench.broker.nextSettling == .boot)
        #expect(try counted() == ["k1"])
        bench.broker.settle(now: .now)
        #expect(bench.broker.nextSettling != .boot)
        #expect(try counted() == ["k1"])
    }
}
