// The tools find again what the broker decided and logged: the broker, `explain` and `replay` never disagree.

import Audit
import AuditReading
import Broker
import Foundation
import Kernel
import Keys
import LocalTime
import Policy
import PolicyLoading
import TestSupport
import Testing
import Wire
import PolicyReview

struct ReplayTests {
    private let folder = TemporaryFolder("replay")
    private let unmapped: (uid: UInt32, gid: UInt32) = (65_534, 65_534)

    // There are few ids, so that random policies and callers often match.
    private static let uids: [UInt32] = [1, 2, 3, 65_534]
    private static let gids: [UInt32] = [10, 11, 12, 65_534]
    private static let units = ["a.service", "b@1.service", "b@2.service"]
    private static let patterns = ["a.service", "b@*.service", "*.service", "b@2.service"]
    private static let keys = ["k1", "k2", "k3"]

    private struct Random: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 32 | state << 32
        }
    }

    private func policy(_ name: String, _ random: inout Random) throws -> LoadedPolicy {
        var lines: [String] = []
        for key in Self.keys where Int.random(in: 0..<5, using: &random) > 0 {
            lines.append("key \(key) \(folder["file"])")
            for _ in 0..<Int.random(in: 0..<4, using: &random) {
                let isUser = Bool.random(using: &random)
                let who =
                    isUser
                    ? "\(Self.uids.randomElement(using: &random) ?? 0)"
                    : ":\(Self.gids.randomElement(using: &random) ?? 0)"
                let pattern = Self.patterns.randomElement(using: &random) ?? ""
                if Int.random(in: 0..<4, using: &random) == 0 {
                    lines.append("permit unit:\(pattern) key \(key)")
                    continue
                }
                lines.append("permit \(who)\(Bool.random(using: &random) ? " unit \(pattern)" : "") key \(key)")
            }
        }
        lines.append("limit each-user requests 1000000 connections 1000")
        try folder.write(name, lines.map { $0 + "\n" }.joined())
        let loading = PolicyFiles([folder[name]], owners: .now).load(warns: false)
        return try #require(loading.loaded, "\(loading.diagnostics)")
    }

    /// A peer with known answers in place of the kernel's.
    private struct KnownPeer: PeerSource {
        let credentials: PeerCredentials
        let groups: [UInt32]
        let unit: String?

        func peerGroups(among wanted: [UInt32], limit: Int) throws(Failure) -> PeerGroups? {
            let named = groups.filter(wanted.contains)
            return PeerGroups(named: named, others: groups.count - named.count)
        }

        func peerIsRunning() throws(Failure) -> Bool? { true }
        func peerProcess(_ pid: Int32, units: UnitTable?) throws(Failure) -> (comm: String?, unit: String?)? {
            (nil, unit)
        }
    }

    private func peers(_ random: inout Random) -> [KnownPeer] {
        (0..<40).map { number in
            KnownPeer(
                credentials: PeerCredentials(
                    uid: Self.uids.randomElement(using: &random) ?? 0,
                    gid: Self.gids.randomElement(using: &random) ?? 0, pid: Int32(number + 1)),
                groups: Self.gids.filter { _ in Bool.random(using: &random) },
                unit: Bool.random(using: &random) ? Self.units.randomElement(using: &random) : nil)
        }
    }

    private func requests(_ name: String) throws -> Requests {
        var requests = Requests()
        var reader = LogReader([folder[name]])
        while let record = try reader.next() { requests.add(record) }
        return requests
    }

    @Test func brokerExplainAndReplayNeverDisagree() throws {
        try folder.write("file", "KEY", mode: 0o600)
        var random = Random(state: 42)
        for round in 0..<60 {
            let (old, new) = (try policy("old.policy", &random), try policy("new.policy", &random))
            let log = "log\(round)"
            var granted = 0
            do {
                let broker = Broker(
                    policy: old, log: try AuditLog(folder[log], syncs: false),
                    keys: KeyStore(owners: .now, watch: nil, sandbox: Sandbox()),
                    capacity: Capacity(total: 1000), overflow: OverflowIDs(uid: unmapped.uid, gid: unmapped.gid))
                for peer in peers(&random) {
                    guard case .admitted(let client) = try broker.admit(peer.credentials, from: peer) else { continue }
                    defer { broker.dismiss(client) }
                    for key in Self.keys {
                        let load = Load(connections: 0, mostConnections: 0, oldestWaiting: .zero)
                        let answer = try #require(
                            try broker.answer(
                                .bytes(Array("1G\(key)".utf8)[...]), from: client, of: peer, under: load
                            ).known)
                        var isGranted = false
                        if case .granted = answer.reply { isGranted = true }
                        granted += isGranted ? 1 : 0
                        let caller = Caller(
                            uid: peer.credentials.uid, gid: peer.credentials.gid, groups: peer.groups, unit: peer.unit,
                            unmapped: unmapped)
                        let name = try #require(KeyName(key))
                        #expect(old.policy.explanation(of: name, for: caller).isPermitted == isGranted)
                    }
                }
                _ = broker.commit([])
            }
            let requests = try requests(log)
            #expect(requests.all.reduce(0) { $0 + $1.outcome.granted } == granted)
            // Under the policy that decided the requests, nothing changes.
            #expect(requests.changes(under: old.policy, unmapped: unmapped).isEmpty)
            // Under another policy, exactly those requests change that it decides differently. If that depends on a
            // group that the old policy does not name, the log cannot tell.
            let untold = requests.untold(under: new.policy, unmapped: unmapped).map(\.question)
            func isUntold(_ question: Requests.Question) -> Bool {
                untold.contains {
                    ($0.key, $0.uid, $0.gid, $0.unit) == (question.key, question.uid, question.gid, question.unit)
                        && ($0.groups, $0.hasOtherGroups) == (question.groups, question.hasOtherGroups)
                }
            }
            let changes = requests.changes(under: new.policy, unmapped: unmapped)
            var expected = 0
            for (question, outcome) in requests.all where !isUntold(question) {
                // Folded records name no key.
                guard let name = question.key.flatMap({ KeyName($0) }) else { continue }
                let caller = try #require(question.caller(unmapped: unmapped))
                let isPermitted = new.policy.explanation(of: name, for: caller).isPermitted
                expected += isPermitted ? outcome.denied : outcome.granted
            }
            #expect(changes.reduce(0) { $0 + $1.requests } == expected)
            // If the two policies mean the same, nothing can change.
            if differences(from: old.policy, to: new.policy).isEmpty { #expect(changes.isEmpty) }
            // Nothing that was used is reported as unused, and everything else is.
            let unused = requests.unused(of: old.policy, unmapped: unmapped)
            for (key, rules) in old.policy.rules {
                for rule in rules {
                    let isUsed = requests.all.contains { question, outcome in
                        outcome.granted > 0 && question.key == key.description
                            && question.caller(unmapped: unmapped).map(rule.permits) == true
                    }
                    #expect(unused.rules.contains(rule) == !isUsed)
                }
            }
        }
    }

    /// Only a limited number of names of nonexistent keys is counted separately.
    @Test func inventedKeysDoNotGrowWithoutEnd() throws {
        var requests = Requests()
        for number in 0..<12_000 {
            let line =
                #"{"seq":1,"time":"t","event":"request","verb":"get","decision":"denied","reason":"unknown-key","#
                + #""key":"k\#(number)","uid":5,"gid":5,"groups":[],"chain":"x"}"#
            requests.add(try #require(LoggedRecord(Array(line.utf8))))
        }
        #expect(requests.all.count == 10_001)
        #expect(requests.count == 12_000)
        #expect(requests.all.reduce(0) { $0 + $1.outcome.denied } == 12_000)
    }

    @Test func whatIsSelected() throws {
        func record(_ fields: String) throws -> LoggedRecord {
            try #require(LoggedRecord(Array(#"{"seq":7,"time":"2026-11-23T13:28:05.500000Z",\#(fields)}"#.utf8)))
        }
        let denied = try record(
            #""event":"request","decision":"denied","key":"k","uid":33,"user":"www","unit":"b@1.service""#)
        let moment = try #require(WallTime(rfc3339: "2026-11-23T13:28:05.5Z"))
        #expect(Selection().includes(denied))
        #expect(Selection(key: "k", decision: "denied", numbers: 7...7).includes(denied))
        #expect(!Selection(key: "kk").includes(denied))
        #expect(!Selection(decision: "granted").includes(denied))
        #expect(!Selection(numbers: 8...9).includes(denied))
        #expect(Selection(since: moment).includes(denied))
        #expect(!Selection(until: moment).includes(denied))
        #expect(Selection(user: .init(uid: 33, name: nil)).includes(denied))
        #expect(Selection(user: .init(uid: nil, name: "www")).includes(denied))
        #expect(!Selection(user: .init(uid: 3, name: "ww")).includes(denied))
        #expect(Selection(unit: UnitPattern(Array("b@*.service".utf8))).includes(denied))
        #expect(!Selection(unit: UnitPattern(Array("a.service".utf8))).includes(denied))
        #expect(!Selection(key: "k").includes(try record(#""event":"start""#)))
    }
}
