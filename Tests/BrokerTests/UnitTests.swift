// Callers that only their unit makes known: their places and rates, beside strangers that want both.

import Audit
import Kernel
import Testing
import Wire

@testable import Broker

struct UnitTests {
    private static let policy = Bench.policy + "permit unit:dyn@*.service key web\n"

    /// A service under a uid that nobody knew before, as `DynamicUser=` makes them.
    private func service(_ uid: UInt32 = 61_200, _ unit: String = "dyn@1.service") -> FakePeer {
        FakePeer(uid: uid, unit: unit)
    }

    @Test func strangersCannotTakeTheServicesPlace() throws {
        let bench = try Bench(Self.policy)
        // As many strangers as there are places for. Some run in units, which no line names.
        var strangers: [Client] = []
        for uid in 5000..<5100 as Range<UInt32> {
            let unit = uid % 2 == 0 ? nil : "user@\(uid).service"
            guard let client = try bench.admit(FakePeer(uid: uid, unit: unit)) else { break }
            #expect(client.standing == .stranger)
            strangers.append(client)
        }
        #expect(strangers.count == 16)
        #expect(try bench.admit(FakePeer(uid: 6000)) == nil)
        let client = try #require(try bench.admit(service()))
        #expect(client.standing == .unit)
        guard case .granted = try bench.ask("1Gweb", client, service()).reply else {
            Issue.record("not granted")
            return
        }
        // Nor can a crowd of a named group.
        for uid in 7000..<7100 as Range<UInt32> { _ = try bench.admit(FakePeer(uid: uid, groups: [2001])) }
        #expect(try bench.admit(FakePeer(uid: 7200, groups: [2001])) == nil)
        #expect(try bench.admit(service(61_201))?.standing == .unit)
    }

    @Test func aUnitWithManyUidsIsOne() throws {
        let bench = try Bench(Self.policy)
        var clients: [Client] = []
        for uid in 61_000..<61_100 as Range<UInt32> {
            guard let client = try bench.admit(service(uid)) else { break }
            clients.append(client)
        }
        #expect(clients.count == bench.broker.capacity.connectionsPerUser)
        // Another unit, and a user that a line names, have their own.
        #expect(try bench.admit(service(61_100, "dyn@2.service"))?.standing == .unit)
        #expect(try bench.admit(FakePeer(uid: 1001))?.standing == .user)
        // So it is with the rate.
        var replies: [Reply] = []
        let (rate, bound) = (Limits.requestsPerSecond, RateBound())
        for client in clients {
            for _ in 0..<10 { replies.append(try bench.ask("1V", client, service(client.uid)).reply) }
        }
        let served = replies.count { if case .version = $0 { true } else { false } }
        #expect((rate...bound.most(rate)).contains(served))
        for client in clients { bench.broker.dismiss(client) }
        #expect(try bench.admit(service())?.standing == .unit)
    }

    /// Another process of the same uid, outside of the unit, has its own place and nothing of the unit's.
    @Test func theSameUidOutsideOfTheUnit() throws {
        let bench = try Bench(Self.policy)
        let outside = FakePeer(uid: 61_200, unit: "other.service")
        let client = try #require(try bench.admit(outside))
        #expect(client.standing == .stranger)
        #expect(try bench.admit(outside) == nil)
        guard case .denied = try bench.ask("1Gweb", client, outside).reply else {
            Issue.record("not denied")
            return
        }
        for _ in 0..<10 { #expect(try bench.admit(service())?.standing == .unit) }
    }

    @Test func whoIsKnownIsNotLookedAt() throws {
        let bench = try Bench(Self.policy)
        for uid in [0, 1001, 65_534] as [UInt32] {
            let peer = service(uid)
            let client = try #require(try bench.admit(peer))
            #expect(peer.askedForProcess == 0)
            defer { bench.broker.dismiss(client) }
            #expect(client.standing == (uid == 0 ? .administrator : uid == 1001 ? .user : .stranger))
        }
        // What was read for the place is not read again for the request.
        let peer = service()
        let client = try #require(try bench.admit(peer))
        _ = try bench.ask("1Gweb", client, peer)
        #expect(peer.askedForProcess == 1)
        // Root in the unit is permitted, and by that line alone.
        #expect(try bench.reply("1Gweb", service(0)).isGranted)
        #expect(try !bench.reply("1Gweb", FakePeer(uid: 0)).isGranted)
        #expect(try !bench.reply("1Gweb", service(65_534)).isGranted)
    }

    @Test func withoutSuchALineNobodyIsLookedAt() throws {
        let bench = try Bench(Bench.policy)
        let peer = service()
        #expect(try bench.admit(peer)?.standing == .stranger)
        #expect(peer.askedForProcess == 0)
    }

    /// A uid that connects all the time costs so many looks a second, and costs others none.
    @Test func looksAreLimitedForEachUid() throws {
        let bench = try Bench(Self.policy)
        let greedy = FakePeer(uid: 5000, unit: "x.service")
        let bound = RateBound()
        for _ in 0..<1000 { if let client = try bench.admit(greedy) { bench.broker.dismiss(client) } }
        // They are counted from second to second, so the first and the last can be cut short.
        #expect(greedy.askedForProcess <= Limits.requestsPerSecond + bound.most(Limits.requestsPerSecond))
        #expect(greedy.askedForProcess >= Limits.requestsPerSecond)
        #expect(try bench.admit(service())?.standing == .unit)
        var looks = UnitLooks()
        let start = Instant(sinceBoot: .seconds(1000))
        func take(_ uid: UInt32, _ most: Int, _ now: Instant) -> Bool { looks.take(uid, most: most, now: now) }
        for _ in 0..<5 { #expect(take(1, 5, start)) }
        #expect(!take(1, 5, start))
        #expect(take(2, 5, start))
        #expect(take(1, 5, start.after(.seconds(1))))
        // More uids than are counted are still looked at.
        for uid in 10..<20_000 as Range<UInt32> { #expect(take(uid, 1, start.after(.seconds(1)))) }
    }

    @Test func withoutADescriptorTheCallerIsToldToTryAgain() throws {
        let bench = try Bench(Self.policy)
        let peer = service()
        peer.fault = Failure("getsockopt SO_PEERPIDFD", code: 24)
        #expect(try bench.admit(peer) == nil)
        _ = bench.broker.commit([])
        #expect(bench.log.records.last?.record.reason == .descriptorsExhausted)
        // Who needs no look is served.
        #expect(try bench.admit(FakePeer(uid: 1001)) != nil)
    }

    /// A unit that connects all the time gets so many replies a second; the log has the number of the others.
    @Test func connectionsThatGetNoReplyAreCountedForTheUnit() throws {
        let bench = try Bench(Self.policy)
        for _ in 0..<bench.broker.capacity.connectionsPerUser { _ = try #require(try bench.admit(service())) }
        var (answered, surplus) = (0, 0)
        for round in 0..<10_000 where round < 90 || surplus == 0 {
            // Of one uid no more are looked at in a second.
            for peer in [service(61_201), service(61_202)] {
                switch try bench.broker.admit(peer.credentials, from: peer) {
                case .admitted: Issue.record("admitted")
                case .turnedAway: answered += 1
                case .surplus: surplus += 1
                }
            }
        }
        #expect(answered >= Limits.refusalsPerSecond && surplus > 0)
        bench.broker.settle(now: .now)
        // Then what was counted is recorded.
        bench.broker.settle(now: Instant.now.after(.seconds(2)))
        _ = bench.broker.commit([])
        let records = bench.log.records.map(\.record).filter { $0.unit == "dyn@1.service" }
        #expect(records.map(\.reason) == [.limitConnectionRate, .folded])
        #expect(records.reduce(0) { $0 + ($1.suppressed ?? 1) } == surplus)
        #expect(records.allSatisfy { $0.uid == nil && $0.peer == nil && $0.decision == .busy })
        #expect(records.first?.detail?.hasPrefix("those in dyn@1.service connect too often") == true)
    }

    /// Refusals of many uids of a unit have few records.
    @Test func refusalsAreFoldedTogether() throws {
        let bench = try Bench(Self.policy + "limit each-user requests 1000000\n", total: 4096)
        for uid in 10_000..<10_050 as Range<UInt32> {
            let peer = service(uid)
            let client = try #require(try bench.admit(peer))
            for _ in 0..<10 { _ = try bench.ask("1Gapi", client, peer) }
            bench.broker.dismiss(client)
        }
        _ = bench.broker.commit([])
        let own = bench.log.records.count { $0.record.decision == .denied }
        #expect((Limits.crowdRecordsAtOnce...Limits.crowdRecordsAtOnce + 20).contains(own))
        #expect(bench.log.records.contains { $0.record.detail?.contains("only their unit makes known") == true })
    }
}

extension Reply {
    fileprivate var isGranted: Bool { if case .granted = self { true } else { false } }
}
