// The ledger, seen through the broker: no record, no key; what does not arrive is taken back; what was folded is recorded.

import Audit
import Kernel
import PolicyLoading
import Testing
import Wire

@testable import Broker

struct LedgerTests {
    @Test func noRecordNoKey() throws {
        let bench = try Bench(Bench.policy)
        let peer = FakePeer(uid: 1001)
        let client = try #require(try bench.admit(peer))
        bench.log.isFull = true
        let (granted, denied) = (try bench.ask("1Gweb", client, peer), try bench.ask("1Gapi", client, peer))
        #expect(granted.carriesDescriptors)
        guard case .failed = bench.broker.commit([granted, denied]) else {
            Issue.record("the log took it")
            return
        }
        for answer in [granted, denied] {
            #expect(!answer.carriesDescriptors)
            #expect(answer.reply == .unavailable(decision: 0, reason: "audit-unavailable"))
        }
        guard case .failedAgain = bench.broker.commit([try bench.ask("1Gweb", client, peer)]) else {
            Issue.record("the log took it")
            return
        }
        // Only an administrator is told that the log is failing.
        guard case .status(let page) = try bench.reply("1S", FakePeer(uid: 0)) else {
            Issue.record("no status")
            return
        }
        #expect(page.values(.audit) == ["failing"])
        bench.log.isFull = false
        let answer = try bench.ask("1Gweb", client, peer)
        guard case .recovered(let recorded, let withdrawn) = bench.broker.commit([answer]) else {
            Issue.record("it did not recover")
            return
        }
        #expect(withdrawn == 4)
        #expect(recorded.map(\.record.reason) == [.permitted, .auditUnavailable])
        #expect(recorded.last?.record.suppressed == 4)
        #expect(answer.reply == .granted(decision: 1))
        #expect(bench.log.records.map(\.number) == [1, 2])
    }

    /// The log can be written again, and nobody asks: a correction that is owed is written, and the outage once.
    @Test func whatIsOwedIsWrittenWithoutARequest() throws {
        let bench = try Bench(Bench.policy)
        let peer = FakePeer(uid: 1001)
        let client = try #require(try bench.admit(peer))
        let lost = try bench.ask("1Gweb", client, peer)
        _ = bench.broker.commit([lost])
        bench.log.isFull = true
        _ = bench.broker.undelivered(lost, to: client, Failure("sendmsg", code: Failure.brokenPipe))
        _ = bench.broker.commit([])
        bench.log.isFull = false
        let ledger = bench.broker.ledger
        ledger.settle(now: try #require(ledger.nextSettling), policy: "")
        _ = ledger.commit([])
        #expect(bench.log.records.map(\.record.reason) == [.permitted, .notDelivered, .auditUnavailable])
        #expect(ledger.nextSettling == nil)
    }

    /// A policy that came into force meanwhile is in the log before what it decides.
    @Test func aReloadIsRecordedAfterAnOutage() throws {
        let bench = try Bench(Bench.policy)
        bench.log.isFull = true
        try bench.reload(Bench.policy + "permit 1001 key api\n")
        for _ in 0..<2 { _ = bench.broker.commit([]) }
        _ = bench.broker.adopt(LoadResult(loaded: nil, diagnostics: []), askedBy: 0, pid: 1)
        _ = bench.broker.commit([])
        bench.log.isFull = false
        #expect(try bench.reply("1Gapi", FakePeer(uid: 1001)) == .granted(decision: 3))
        let records = bench.log.records.map(\.record)
        #expect(records.map(\.event) == [.reload, .reload, .request, .limit])
        #expect(records.map(\.decision) == [.applied, .rejected, .granted, .unavailable])
        #expect(Set(records.prefix(3).map(\.policy)).count == 1)
        // Nobody was answered, so nothing was withdrawn.
        #expect(records.last?.suppressed == 0)
        let rejected = bench.broker.ledger.tally.outcomes.filter { $0.key.decision != .granted }
        #expect(rejected.map(\.key.decision) == [.rejected] && rejected.map(\.value) == [1])
        #expect(bench.broker.ledger.nextSettling == nil)
    }

    /// Connections without a reply are counted through an outage: those of strangers together.
    @Test func surplusConnectionsOutliveAnOutage() throws {
        let bench = try Bench(Bench.policy)
        bench.log.isFull = true
        var surplus: [UInt32: Int] = [:]
        let began = Instant.now
        for _ in 0..<3 {
            for uid in [1001, 7001, 7002] as [UInt32] {
                for _ in 0..<300 {
                    let peer = FakePeer(uid: uid)
                    if case .surplus = try bench.broker.admit(peer.credentials, from: peer) {
                        surplus[uid, default: 0] += 1
                    }
                }
            }
            bench.broker.settle(now: .now)
            _ = bench.broker.commit([])
        }
        #expect(surplus.count == 3)
        let ledger = bench.broker.ledger
        // It is tried again after a pause, although nobody asks.
        #expect(try #require(ledger.nextSettling) >= began.after(Limits.retry))
        for _ in 0..<2 {
            ledger.settle(now: try #require(ledger.nextSettling), policy: "")
            _ = ledger.commit([])
            bench.log.isFull = false
        }
        let records = bench.log.records.map(\.record).filter { $0.reason == .limitConnectionRate }
        let strangers = (surplus[7001] ?? 0) + (surplus[7002] ?? 0)
        #expect(records.count == 2 && records.allSatisfy { $0.decision == .busy && $0.peer == nil })
        #expect(records.first { $0.uid == 1001 }?.suppressed == surplus[1001])
        #expect(records.first { $0.uid == nil }?.suppressed == strangers)
        #expect(
            records.first { $0.uid == nil }?.detail?.hasPrefix("users that no line names connect too often") == true)
        ledger.count()
        let counted = ledger.tally.outcomes.filter { $0.key.reason == .limitConnectionRate }.map(\.value)
        #expect(counted == [UInt64(strangers + (surplus[1001] ?? 0))])
    }

    /// If nobody asks but something must be recorded, the log is tried again only from time to time.
    @Test func aFullLogIsNotTriedAllTheTime() throws {
        let bench = try Bench(Bench.policy)
        for _ in 0..<20 { _ = try bench.reply("1Gnone", FakePeer(uid: 1001)) }
        let ledger = bench.broker.ledger
        let due = try #require(ledger.nextSettling)
        bench.log.isFull = true
        for attempt in 0..<5 {
            let now = due.after(.seconds(attempt))
            #expect(try #require(ledger.nextSettling) <= now)
            ledger.settle(now: now, policy: "")
            guard case .failed = ledger.commit([], now: now) else {
                if case .failedAgain = ledger.commit([], now: now) { continue }
                continue
            }
            #expect(try #require(ledger.nextSettling) == now.after(Limits.retry))
        }
        bench.broker.count()
        // The record of the outage does not count as a request.
        #expect(!ledger.tally.outcomes.keys.contains { $0.reason == .auditUnavailable })
        bench.log.isFull = false
        ledger.settle(now: due.after(.seconds(10)), policy: "")
        _ = ledger.commit([])
        #expect(bench.log.records.contains { $0.record.reason == .folded && $0.record.suppressed == 8 })
        #expect(bench.log.records.filter { $0.record.reason == .auditUnavailable }.count <= 1)
    }

    /// Callers that a policy cannot tell apart share one list, and a long list costs as much as many requests.
    @Test func listsAreMadeOnceAndCostWhatTheyAre() throws {
        let keys = (0..<1000).map { "key k\($0) /k/\($0)\npermit :2001 key k\($0)\n" }.joined()
        let bench = try Bench(keys)
        let peer = FakePeer(uid: 7001, groups: [2001])
        let bound = RateBound()
        let client = try #require(try bench.admit(peer))
        #expect(try bench.ask("1L", client, peer).names.count == 1000)
        // The rate is a hundred per second. A list costs ten requests in addition to itself.
        var asked = 1
        while case .names = try bench.ask("1L", client, peer).reply { asked += 1 }
        #expect((9...bound.most(100) / 11 + 2).contains(asked))
        let other = FakePeer(uid: 7002, groups: [2001])
        let second = try #require(try bench.admit(other))
        #expect(try bench.ask("1L", second, other).names.count == 1000)
        let stranger = FakePeer(uid: 7003)
        let third = try #require(try bench.admit(stranger))
        #expect(try bench.ask("1L", third, stranger).names.isEmpty)
    }

    @Test func aGrantThatDoesNotArriveIsTakenBack() throws {
        let bench = try Bench(Bench.policy)
        let peer = FakePeer(uid: 1001)
        let client = try #require(try bench.admit(peer))
        for _ in 0..<3 {
            let answer = try bench.ask("1Gweb", client, peer)
            _ = bench.broker.commit([answer])
        }
        let lost = try bench.ask("1Gweb", client, peer)
        _ = bench.broker.commit([lost])
        #expect(bench.broker.undelivered(lost, to: client, Failure("sendmsg", code: Failure.brokenPipe)) == nil)
        // File descriptors ran out: the client is still connected and is told to try again.
        let late = try bench.ask("1Gweb", client, peer)
        _ = bench.broker.commit([late])
        let instead = try #require(
            bench.broker.undelivered(late, to: client, Failure("sendmsg", code: Failure.noMemory)))
        // The log cannot be written now, so the corrections are owed.
        bench.log.isFull = true
        _ = bench.broker.commit([instead])
        #expect(instead.reply == .unavailable(decision: 0, reason: "audit-unavailable"))
        bench.broker.count()
        #expect(bench.broker.ledger.tally.keys.values.first?.granted == 4)
        bench.log.isFull = false
        _ = try bench.ask("1V", client, peer)
        _ = bench.broker.commit([])
        let corrections = bench.log.records.map(\.record).filter { $0.reason == .notDelivered }
        #expect(corrections.map(\.of) == [4, 6])
        #expect(corrections.map(\.decision) == [.unavailable, .busy])
        #expect(corrections.allSatisfy { $0.file == nil && $0.key == "web" && $0.peer?.uid == 1001 })
        bench.broker.count()
        #expect(bench.broker.ledger.tally.keys.values.first?.granted == 3)
        // They are written once and not again.
        _ = try bench.ask("1V", client, peer)
        _ = bench.broker.commit([])
        #expect(bench.log.records.filter { $0.record.reason == .notDelivered }.count == 2)
    }

    @Test func correctionsAreNeverFolded() throws {
        let bench = try Bench(Bench.policy)
        let peer = FakePeer(uid: 1001)
        let client = try #require(try bench.admit(peer))
        for _ in 0..<50 {
            let answer = try bench.ask("1Gweb", client, peer)
            _ = bench.broker.commit([answer])
            _ = bench.broker.undelivered(answer, to: client, Failure("sendmsg", code: Failure.noMemory))
            _ = bench.broker.commit([])
        }
        #expect(bench.log.records.filter { $0.record.of != nil }.count == 50)
        bench.broker.count()
        #expect(bench.broker.ledger.tally.keys.values.first?.granted == 0)
    }

    @Test func whatWasFoldedIsRecordedAtTheEnd() throws {
        let bench = try Bench(Bench.policy)
        let peer = FakePeer(uid: 1001)
        for _ in 0..<30 { _ = try bench.reply("1Gnone", peer) }
        try bench.broker.stop()
        // On a slow machine it is more than one second, of which each has some records of its own.
        let records = bench.log.records.map(\.record)
        let folded = records.filter { $0.reason == .folded }
        let single = records.count { $0.event == .request && $0.reason == .unknownKey }
        #expect(!folded.isEmpty && folded.allSatisfy { $0.uid == 1001 && $0.decision == .denied })
        #expect(single >= Limits.recordsAtOnce && single + folded.compactMap(\.suppressed).reduce(0, +) == 30)
        #expect(bench.log.records.last?.record.event == .stop)
    }

    @Test func unreadRepliesAreCounted() throws {
        let bench = try Bench(Bench.policy, total: 8)
        let peer = FakePeer(uid: 1001)
        let client = try #require(try bench.admit(peer))
        // An answer counts as unread from its decision on, so that one turn cannot grant too many.
        var kept: [Answer] = []
        for _ in 0..<2 { kept.append(try bench.ask("1Gweb", client, peer)) }
        let now = Instant.now
        #expect(bench.broker.isWorthLooking(at: client, now: now))
        #expect(!bench.broker.isWorthLooking(at: client, now: now))
        let opened = bench.keys.opened
        let answer = try bench.ask("1Gweb", client, peer)
        _ = bench.broker.commit([answer])
        #expect(answer.reply == .busy(decision: 3, milliseconds: 250))
        #expect(bench.log[3]?.reason == .limitUnread)
        #expect(bench.keys.opened == opened)
        // The first reply was read.
        _ = kept[0].takeUnread()
        kept.append(try bench.ask("1Gweb", client, peer))
        #expect(kept.last?.carriesDescriptors == true)
        // Answers that were withdrawn or not delivered do not count as unread.
        bench.log.isFull = true
        _ = bench.broker.commit([try #require(kept.last)])
        bench.log.isFull = false
        let lost = try bench.ask("1Gweb", client, peer)
        _ = bench.broker.commit([lost])
        _ = bench.broker.undelivered(lost, to: client, Failure("sendmsg", code: Failure.brokenPipe))
        #expect(client.account.unread == 1)
    }
}
