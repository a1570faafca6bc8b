// The broker alone, with a fake log and fake keys: what it decides, and what still holds if something fails.

import Audit
import Kernel
import Testing
import Wire

@testable import Broker

struct BrokerTests {
    // MARK: Decisions

    @Test func whoMayHaveWhat() throws {
        let bench = try Bench(Bench.policy)
        let (web, api) = (FakePeer(uid: 1001), FakePeer(uid: 1002, groups: [5, 2001, 7]))
        #expect(try bench.reply("1Gweb", web) == .granted(decision: 1))
        #expect(try bench.reply("1Gapi", web) == .denied(decision: 2))
        #expect(try bench.reply("1Gnone", web) == .denied(decision: 3))
        #expect(try bench.reply("1Gapi", api) == .granted(decision: 4))
        #expect(try bench.reply("1Gapi", FakePeer(uid: 1002, gid: 2001)) == .granted(decision: 5))
        #expect(try bench.reply("1Gweb", FakePeer(uid: 1003, unit: "a.service")) == .granted(decision: 6))
        #expect(try bench.reply("1Gweb", FakePeer(uid: 1003, unit: "b.service")) == .denied(decision: 7))
        #expect(try bench.reply("1Gweb", FakePeer(uid: 1003)) == .denied(decision: 8))
        // For a caller with the overflow uid, its groups do not count either.
        #expect(try bench.reply("1Gapi", FakePeer(uid: 65_534, groups: [2001])) == .denied(decision: 9))
        #expect(bench.log.records.map(\.record.reason).prefix(4) == [.permitted, .noRule, .unknownKey, .permitted])
        // The record has the groups that the policy names, and the number of the others.
        #expect(bench.log[4]?.peer?.groups == PeerGroups(named: [2001], others: 2))
        // Keys that are denied are not even opened.
        #expect(bench.keys.opened == 4)
    }

    @Test func whatIsAskedOfTheKernelAndWhen() throws {
        let bench = try Bench(Bench.policy)
        let peer = FakePeer(uid: 1001)
        let client = try #require(try bench.admit(peer))
        // A line names its uid, which is enough to get a place.
        #expect((peer.askedForGroups, peer.askedForProcess) == (0, 0))
        for _ in 0..<3 { _ = try bench.ask("1Gweb", client, peer) }
        #expect((peer.askedForGroups, peer.askedForProcess) == (1, 1))
        // The groups are read again for each new policy, because it may name other groups.
        try bench.reload("key web /k/web\npermit :3001 key web\n")
        _ = try bench.ask("1Gweb", client, peer)
        #expect((peer.askedForGroups, peer.askedForProcess) == (2, 1))
    }

    @Test func aReloadThatNamesAnotherGroupCountsForWhoIsConnected() throws {
        let bench = try Bench(Bench.policy)
        let peer = FakePeer(uid: 1001, groups: [3001])
        let client = try #require(try bench.admit(peer))
        _ = try bench.ask("1Gapi", client, peer)
        try bench.reload("key api /k/api\npermit :3001 key api\n")
        let answer = try bench.ask("1Gapi", client, peer)
        _ = bench.broker.commit([answer])
        guard case .granted = answer.reply else {
            Issue.record("\(answer.reply)")
            return
        }
        // The same for a new policy that takes a permission away.
        try bench.reload("key api /k/api\n")
        guard case .denied = try bench.ask("1Gapi", client, peer).reply else {
            Issue.record("the old policy counts")
            return
        }
    }

    @Test func whatCannotBeHandedOut() throws {
        let bench = try Bench(Bench.policy)
        bench.keys.fault = TrustError(.missing, "/k/web does not exist")
        #expect(try bench.reply("1Gweb", FakePeer(uid: 1001)) == .unavailable(decision: 1, reason: "file-missing"))
        #expect(bench.log[1]?.detail == "/k/web does not exist")
        bench.keys.fault = TrustError(.shortage, "no descriptors")
        #expect(try bench.reply("1Gweb", FakePeer(uid: 1001)) == .busy(decision: 2, milliseconds: 250))
        #expect(bench.log[2]?.reason == .descriptorsExhausted)
    }

    @Test func theStatusIsForAdministrators() throws {
        let bench = try Bench(Bench.policy)
        #expect(try bench.reply("1S", FakePeer(uid: 1001)) == .denied(decision: 1))
        #expect(bench.log[1]?.reason == .notAdministrator)
        guard case .status(let page) = try bench.reply("1S", FakePeer(uid: 0)) else {
            Issue.record("no status")
            return
        }
        #expect(page.values(.requests) == ["status denied not-administrator 1"])
    }

    // MARK: Limits

    @Test func whoAsksTooOftenIsToldBeforeAnythingIsRead() throws {
        let bench = try Bench(Bench.policy + "limit 1001 requests 2\n")
        let peer = FakePeer(uid: 1001)
        for _ in 0..<2 { #expect(try bench.reply("1Gweb", peer).decision != nil) }
        // On a slow machine, there may be time for more than two.
        var (late, tries) = (FakePeer(uid: 1001), 0)
        while tries < 100 {
            if case .busy = try bench.reply("1Gweb", late) { break }
            (late, tries) = (FakePeer(uid: 1001), tries + 1)
        }
        #expect(tries < 100)
        #expect((late.askedForGroups, late.askedForProcess) == (0, 0))
    }

    @Test func aStrangerNeedsOneConnection() throws {
        let bench = try Bench(Bench.policy + "limit each-user connections 10\n")
        let (stranger, known) = (FakePeer(uid: 5000, groups: [9]), FakePeer(uid: 5000, groups: [2001]))
        let first = try #require(try bench.admit(stranger))
        #expect(first.standing == .stranger)
        #expect(try bench.admit(stranger) == nil)
        // The same uid, with a group that a line names.
        #expect(try bench.admit(known)?.standing == .group)
        bench.broker.dismiss(first)
        #expect(try bench.admit(FakePeer(uid: 0))?.standing == .administrator)
        #expect(try bench.admit(FakePeer(uid: 1001))?.standing == .user)
    }

    /// A line about a group says nothing of who is not in it.
    @Test func aLimitOfAGroupIsNobodyElses() throws {
        let bench = try Bench(Bench.policy + "limit :2002 connections 1\n", total: 1000)
        var held = 0
        while try bench.admit(FakePeer(uid: 1001)) != nil { held += 1 }
        #expect(held == Limits.connectionsPerUser)
        // Nor does it make known whom it is about.
        #expect(try bench.admit(FakePeer(uid: 7000, groups: [2002]))?.standing == .stranger)
    }

    /// The look at very many groups is paid for by the requests that come after it.
    @Test func whoPaysForALookIsServed() throws {
        let bench = try Bench(Bench.policy + "limit 1001 requests 1\n")
        let peer = FakePeer(uid: 1001, groups: [UInt32](10_000..<12_000))
        #expect(try bench.reply("1Gweb", peer) == .granted(decision: 1))
        guard case .busy(_, let milliseconds) = try bench.reply("1Gweb", peer) else {
            Issue.record("not busy")
            return
        }
        #expect((9_000...11_000).contains(milliseconds))
    }

    @Test func veryManyGroupsAreReadForFew() throws {
        let bench = try Bench(Bench.policy + "limit each-user requests 1000\n")
        let crowd = [UInt32](10_000..<20_000) + [2001]
        var (granted, uid) = (0, 6000 as UInt32)
        let (rate, bound) = (Limits.callersWithManyGroupsPerSecond, RateBound())
        while case .granted = try bench.reply("1Gapi", FakePeer(uid: uid, groups: crowd)) {
            (granted, uid) = (granted + 1, uid + 1)
        }
        #expect((rate...bound.most(rate)).contains(granted))
        #expect(bench.log.records.contains { $0.record.reason == .limitGroups })
        // A uid that a line names is not limited together with others.
        #expect(try bench.reply("1Gweb", FakePeer(uid: 1001, groups: crowd)).decision != nil)
        #expect(bench.log.records.last?.record.reason == .permitted)
    }
}
