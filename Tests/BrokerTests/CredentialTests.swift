// Credentials for units: what is decided, recorded and counted, with a log that can fail.

import Audit
import Foundation
import Kernel
import TestSupport
import Testing
import Wire

@testable import Broker

struct CredentialTests {
    private static let policy = Bench.policy + "permit unit:a.service key web\npermit unit:w@*.service key api\n"
    private let root = PeerCredentials(uid: 0, gid: 0, pid: 7)

    private func ask(_ bench: Bench, _ id: String, _ unit: String = "a.service") -> Credential {
        ask(bench, root, "\0beef/unit/\(unit)/\(id)", in: unit)
    }

    /// - Parameter unit: what the kernel says.
    private func ask(_ bench: Bench, _ peer: PeerCredentials, _ name: String, in unit: String?) -> Credential {
        let credential = bench.broker.credential(peer, from: Array(name.utf8), mayWait: false) { _ in
            ("(sd-creds)", unit)
        }
        guard let credential else { preconditionFailure("it may not wait") }
        return credential
    }

    /// Asks, commits, and ends it as if it was sent.
    private func outcome(_ bench: Bench, _ id: String, _ unit: String = "a.service") -> Bool {
        let credential = ask(bench, id, unit)
        _ = bench.broker.commit([])
        bench.broker.end(credential, undelivered: nil)
        bench.broker.count()
        return credential.isGranted
    }

    @Test func theUnitIsAsked() throws {
        let bench = try Bench(Self.policy)
        #expect(outcome(bench, "web"))
        #expect(!outcome(bench, "api"))
        #expect(outcome(bench, "api", "w@1.service"))
        #expect(!outcome(bench, "web", "b.service"))
        // A line about an account in that unit is for that account.
        #expect(!outcome(bench, "web.bundle", "a.service"))
        #expect(bench.log.records.map(\.record.reason) == [.permitted, .noRule, .permitted, .noRule, .fileMissing])
        #expect(bench.log[1]?.peer?.unit == "a.service")
        #expect(bench.log[1]?.peer?.pid == 7)
        #expect(bench.keys.opened == 2)
        #expect(bench.broker.credentials.total == 0)
        let page = bench.broker.status(under: Load(connections: 0, mostConnections: 0, oldestWaiting: .zero))
        #expect(page.values(.requests).contains("credential granted permitted 2"))
    }

    @Test func nobodyElseIsBelieved() throws {
        let bench = try Bench(Self.policy)
        let name = "\01/unit/a.service/web"
        for uid in [1001, 65_534, .max] as [UInt32] {
            #expect(!ask(bench, PeerCredentials(uid: uid, gid: 0, pid: 1), name, in: "a.service").isGranted)
        }
        #expect(!ask(bench, root, "/run/x", in: "a.service").isGranted)
        // The kernel says that it is in another unit, or does not say, or cannot see the process.
        for unit in ["b.service", "a.service.scope", nil] { #expect(!ask(bench, root, name, in: unit).isGranted) }
        #expect(!ask(bench, PeerCredentials(uid: 0, gid: 0, pid: nil), name, in: "a.service").isGranted)
        _ = bench.broker.commit([])
        #expect(bench.log.records.allSatisfy { $0.record.reason == .notServiceManager })
        #expect(bench.keys.opened == 0)
        let busy = bench.broker.credential(root, from: Array(name.utf8), mayWait: false) { _ throws(Failure) in
            throw Failure("getsockopt SO_PEERPIDFD", code: 24)
        }
        #expect(busy?.isGranted == false)
        _ = bench.broker.commit([])
        #expect(bench.log.records.last?.record.reason == .descriptorsExhausted)
    }

    @Test func withoutALogNothing() throws {
        let bench = try Bench(Self.policy)
        bench.log.isFull = true
        let credential = ask(bench, "web")
        guard case .failed = bench.broker.commit([]) else {
            Issue.record("committed")
            return
        }
        bench.broker.end(credential, undelivered: nil)
        bench.broker.count()
        bench.log.isFull = false
        #expect(outcome(bench, "web"))
        #expect(bench.log.records.map(\.record.suppressed) == [nil, 1])
        let page = bench.broker.status(under: Load(connections: 0, mostConnections: 0, oldestWaiting: .zero))
        #expect(
            Set(page.values(.requests)) == [
                "credential granted permitted 1", "credential unavailable audit-unavailable 1",
            ])
        #expect(bench.broker.credentials.total == 0)
    }

    @Test func aCorrectionTakesTheGrantBack() throws {
        let bench = try Bench(Self.policy)
        let credential = ask(bench, "web")
        _ = bench.broker.commit([])
        bench.broker.end(credential, undelivered: "the peer has gone")
        _ = bench.broker.commit([])
        bench.broker.count()
        #expect(bench.log.records.last?.record.of == credential.decision)
        #expect(bench.log.records.last?.record.detail == "decision 1 was not delivered: the peer has gone")
        let page = bench.broker.status(under: Load(connections: 0, mostConnections: 0, oldestWaiting: .zero))
        #expect(page.values(.requests) == ["credential granted permitted 0", "credential unavailable not-delivered 1"])
    }

    @Test func aUnitHasSoManyAtATime() throws {
        let bench = try Bench(Self.policy)
        let held = (0..<Limits.credentialsPerUnit).map { _ in ask(bench, "web") }
        #expect(held.allSatisfy { $0.isGranted })
        #expect(!ask(bench, "web").isGranted)
        #expect(ask(bench, "api", "w@1.service").isGranted)
        bench.broker.end(held[0], undelivered: nil)
        #expect(ask(bench, "web").isGranted)
    }

    /// A unit that asks all the time has a rate, and neither hides the refusals of another unit nor costs it anything.
    @Test func aUnitThatAsksAllTheTime() throws {
        let bench = try Bench(Self.policy)
        let bound = RateBound()
        for _ in 0..<1000 { _ = outcome(bench, "api") }
        // If a second is over just now, it is not refused at once.
        let granted = (0..<1000).prefix { _ in outcome(bench, "web") }.count
        #expect(granted <= bound.most(100))
        #expect(outcome(bench, "api", "w@1.service"))
        #expect(!outcome(bench, "web", "w@1.service"))
        #expect(bench.log.records.last?.record.peer?.unit == "w@1.service")
        #expect(bench.log.records.last?.record.reason == .noRule)
        #expect(bench.log.records.count <= 29 + granted + bound.most(1))
        // What was folded says for which unit.
        try bench.broker.stop()
        let folded = bench.log.records.map(\.record).filter { $0.reason == .folded && $0.decision == .denied }
        #expect(folded.contains { $0.peer?.unit == "a.service" && $0.verb == .credential })
    }

    /// Invented units share one count, so that they neither fill the log nor the memory.
    @Test func inventedUnitsAreCountedTogether() throws {
        let bench = try Bench(Self.policy)
        let bound = RateBound()
        for number in 0..<5000 { _ = outcome(bench, "web", "invented-\(number).service") }
        #expect(bench.log.records.count <= 29 + bound.most(1))
        #expect(outcome(bench, "web"))
    }
}
