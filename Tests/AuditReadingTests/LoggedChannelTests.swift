// What the log says of signing channels, read again: a grant stays a grant when its channel ends, the sums are those of the
// records, and another policy is asked for what each channel was granted for.

import Audit
import AuditReading
import Foundation
import Kernel
import Policy
import TestSupport
import Testing
import Wire

struct LoggedChannelTests {
    private let folder = TemporaryFolder("channels")
    private let unmapped: (uid: UInt32, gid: UInt32) = (65_534, 65_534)
    private static let peer = Peer(
        uid: 33, gid: 33, groups: [7], pid: 812, comm: "nginx", unit: "nginx.service")

    // MARK: Records as the daemon writes them

    static func request(
        _ uses: SigningUses?, _ decision: Record.Decision = .granted, _ reason: Reason = .permitted,
        by peer: Peer = peer, key: String = "web"
    ) -> Record {
        var record = Record(.request)
        (record.verb, record.decision, record.reason) = (.sign, decision, reason)
        (record.key, record.peer, record.uses) = (key, peer, uses)
        if decision != .denied { record.rule = "p:2" }
        return record
    }

    static func end(
        of grant: UInt64, _ counts: ChannelCounts?, _ reason: Reason = .channelClosed, by peer: Peer = peer,
        key: String = "web"
    ) -> Record {
        var record = Record(.channel)
        (record.verb, record.reason, record.of, record.counts) = (.sign, reason, grant, counts)
        (record.key, record.peer) = (key, peer)
        return record
    }

    private static func correction(of grant: UInt64, _ uses: SigningUses?) -> Record {
        var record = request(uses, .unavailable, .notDelivered)
        record.of = grant
        return record
    }

    private static func get(_ decision: Record.Decision) -> Record {
        var record = request(nil, decision, decision == .denied ? .noRule : .permitted)
        record.verb = .get
        return record
    }

    private func write(_ records: [Record]) throws {
        let log = try AuditLog(folder["log"], syncs: false)
        for record in records { _ = log.stage(record) }
        try log.commit()
    }

    private func requests(_ selection: Selection = Selection()) throws -> Requests {
        var requests = Requests()
        var reader = LogReader([folder["log"]])
        while let record = try reader.next() {
            if selection.includes(record) { requests.add(record) }
        }
        return requests
    }

    private func tool(_ arguments: String..., status: Int32 = 0) throws -> String {
        let run = try Program.run(
            Program.built("keybroker"), arguments + ["--audit", folder["log"]], environment: ["TZ": "UTC"])
        #expect(run.status == status, "\(run.errors)")
        return run.output
    }

    private func objects(_ output: String) throws -> [[String: Any]] {
        try output.split(separator: "\n").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
    }

    /// Two channels that ended, one of them by a fault of the signer; one that is open; one that was never delivered.
    private func history() throws {
        try write([
            Self.request(.tlsServer), Self.request([.tlsServer, .tlsClient]), Self.request(.anything),
            Self.request(.tlsServer), Self.correction(of: 4, .tlsServer), Self.get(.granted), Self.get(.denied),
            Self.end(of: 1, ChannelCounts(signatures: 4211, refused: 3, clones: 2)), Self.end(of: 2, nil, .signerEnded),
            Self.request(nil, .denied, .noRule),
        ])
    }

    // MARK: Reading

    @Test func theEndOfAChannelTakesNoGrantBack() throws {
        try history()
        let requests = try requests()
        let signing = try #require(requests.all.first { $0.question.asksForSignatures })
        #expect(requests.hasChannels)
        // The two ends are no requests.
        #expect(requests.count == 7)
        let outcome = signing.outcome
        #expect((outcome.granted, outcome.permitted, outcome.used, outcome.denied) == (3, 4, 3, 1))
        #expect(outcome.channels.permitted == [.tlsServer: 2, [.tlsServer, .tlsClient]: 1, .anything: 1])
        #expect(outcome.channels.counts == ChannelCounts(signatures: 4211, refused: 3, clones: 2))
        #expect(outcome.channels.counted == 1)
        let got = try #require(requests.all.first { $0.question.asksForKey })
        #expect((got.outcome.granted, got.outcome.channels.permitted) == (1, [:]))
    }

    @Test func theGrantsOfTheTimeBeforeAreNotAmongThem() throws {
        try history()
        let late = try requests(Selection(numbers: 2...20))
        let outcome = try #require(late.all.first { $0.question.asksForSignatures }?.outcome)
        #expect((outcome.granted, outcome.channels.counted) == (2, 0))
        #expect(outcome.channels.counts.signatures == 4211)
    }

    /// Numbers that no log has but a forged one.
    @Test func theSumsDoNotOverflow() throws {
        let most = ChannelCounts(signatures: .max, refused: .max, clones: .max)
        try write([Self.request(.tlsServer)] + (0..<3).map { _ in Self.end(of: 1, most) })
        let outcome = try #require(try requests().all.first?.outcome)
        #expect(outcome.channels.counts == most && outcome.granted == 1)
        let use = try #require(try objects(tool("audit", "summary", "--format", "json")).first)
        #expect(use["signatures"] as? UInt64 == .max && use["open-or-unknown"] as? Int == 0)
    }

    @Test func theToolsAcceptAndShowThem() throws {
        try history()
        #expect(try tool("audit", "verify").contains("10 records"))
        let lines = try tool("audit", "show").split(separator: "\n").map(String.init)
        #expect(lines.count == 11)
        #expect(
            lines[1].contains("  sign     granted      web") && lines[1].hasSuffix("p:2: for tls-server (nginx[812])"))
        #expect(lines[2].hasSuffix("p:2: for tls-server tls-client (nginx[812])"))
        #expect(lines[3].hasSuffix("  p:2 (nginx[812])"))
        #expect(lines[8].contains("  channel  -            web") && lines[8].contains("nginx.service"))
        #expect(
            lines[8].hasSuffix(
                "ended: 4211 signatures, 3 refused, 2 clones (channel-closed, decision 1, nginx[812])"), "\(lines[8])")
        #expect(
            lines[9].hasSuffix("ended: how often it signed is not known (signer-ended, decision 2, nginx[812])"))
        // For programs the bytes are those of the log.
        #expect(try tool("audit", "show", "--format", "json") == folder.text("log"))
        func shown(_ filters: String...) throws -> [Int] {
            let output = try Program.run(
                Program.built("keybroker"),
                ["audit", "show", "--format", "json", "--audit", folder["log"]] + filters
            ).output
            return try objects(output).compactMap { $0["seq"] as? Int }
        }
        #expect(try shown("--key", "web", "--unit", "nginx.*", "--user", "33").count == 10)
        #expect(try shown("--key", "other") == [])
        // An end is no decision.
        #expect(try shown("--decision", "granted") == [1, 2, 3, 4, 6])
        #expect(try shown("--decision", "unavailable") == [5])
    }

    @Test func theSummaryHasTheSignatures() throws {
        try history()
        try folder.write(
            "policy",
            "key web /k\npermit 33 key web\npermit 33 sign web for tls-client\npermit 34 sign web for tls-client\n")
        let rows = try objects(tool("audit", "summary", "--format", "json", "--policy", folder["policy"]))
        let use = try #require(rows.first { $0["kind"] as? String == "use" })
        let names = [
            "granted", "denied", "unavailable", "busy", "channels", "signatures", "refused", "open-or-unknown",
        ]
        #expect(names.map { use[$0] as? Int } == [1, 2, 1, 0, 3, 4211, 3, 2])
        let denials = rows.filter { $0["kind"] as? String == "denial" }
        #expect(denials.map { $0["right"] as? String } == ["key", "sign"])
        let unused = rows.filter { $0["kind"] as? String == "unused-permit" }
        #expect(unused.map { $0["right"] as? String } == ["sign for tls-client"])
        #expect(unused.first?["permitted"] as? String == "34")
        #expect(!rows.contains { $0["kind"] as? String == "unused-key" })
        let text = try tool("audit", "summary", "--policy", folder["policy"])
        #expect(text.contains("channels  signatures  refused  open-or-unknown\n"), "\(text)")
        let others = try objects(
            tool("audit", "summary", "--format", "json", "--policy", folder["policy"], "--user", "34"))
        #expect(others.map { $0["kind"] as? String } == ["unused-permit"])
    }

    /// Without a channel in the log, nothing is said of any.
    @Test func aLogWithoutChannelsIsSummedUpAsBefore() throws {
        try write([Self.get(.granted), Self.get(.denied)])
        let use = try #require(try objects(tool("audit", "summary", "--format", "json")).first)
        #expect(use["channels"] == nil && use["right"] == nil)
    }

    // MARK: Another policy

    private func policy(_ text: String) throws -> Policy {
        let reading = read([PolicyText(file: "n", bytes: Array("key web /k\n\(text)\n".utf8))], in: numbersOnly)
        return try #require(reading.policy, "\(text): \(reading.diagnostics)")
    }

    /// The requests that change under a policy: how many are gained, lost, and for what.
    private func changes(_ text: String) throws -> [String] {
        try requests().changes(under: policy(text), unmapped: unmapped).filter { $0.question.asksForSignatures }.map {
            "\($0.isGain ? "+" : "-")\($0.requests) \($0.uses?.rawValue ?? 0)"
        }.sorted()
    }

    @Test func aPermissionThatCoversNotAllOfAGrantIsALoss() throws {
        try history()
        // The one that was denied would be granted.
        #expect(try changes("permit 33 sign web") == ["+1 7"])
        #expect(try changes("permit 33 key web") == ["-1 3", "-1 7", "-2 1"])
        // Any message, but for handshakes of servers; and handshakes of clients.
        #expect(try changes("permit 33 sign web for tls-server") == ["+1 1", "-1 2", "-1 6"])
        #expect(
            try changes("permit 33 sign web for tls-server\npermit :33 sign web for tls-client")
                == ["+1 3", "-1 4"])
        try folder.write("new", "key web /k\npermit 33 key web\npermit 33 sign web for tls-server\n")
        let rows = try objects(tool("policy", "replay", "--format", "json", "--policy", folder["new"]))
        #expect(
            rows.map { $0["right"] as? String ?? "" } == [
                "sign for tls-client", "sign, but for tls-server", "key", "sign for tls-server",
            ])
    }

    /// The log does not say for what a channel was that was not made: any permission is enough.
    @Test func aChannelThatWasNotMade() throws {
        try write([Self.request(nil, .unavailable, .signerUnavailable)])
        #expect(try changes("permit 33 sign web for tls-client") == [])
        #expect(try changes("permit 34 sign web") == ["-1 0"])
        #expect(
            Suggestion(try requests(), unmapped: unmapped).lines { "\($0)" } == [
                "permit 33 unit nginx.service sign web"
            ])
    }

    /// A caller may have been in a group that the log does not name.
    @Test func whatAGroupWouldPermitIsUntold() throws {
        var peer = Self.peer
        peer.groups = PeerGroups(named: [], others: 2)
        try write([Self.request(.tlsServer, by: peer), Self.request(.tlsClient, by: peer)])
        let requests = try requests()
        let ofGroup = try policy("permit :7 sign web for tls-server")
        #expect(requests.untold(under: ofGroup, unmapped: unmapped).map(\.requests) == [1])
        #expect(requests.changes(under: ofGroup, unmapped: unmapped).map(\.requests) == [1])
    }

    @Test func whatIsSuggestedPermitsSignatures() throws {
        let other = Peer(uid: 34, gid: 34, groups: [], pid: 1, comm: "x", unit: nil)
        try write([
            Self.request(.tlsServer), Self.request(.tlsClient, key: "api"), Self.request(.tlsServer, key: "two"),
            Self.request(.tlsServer, by: other), Self.request(.anything, by: other, key: "api"), Self.get(.granted),
            Self.end(of: 1, nil, .noRule),
        ])
        let suggestion = Suggestion(try requests(), unmapped: unmapped)
        #expect(
            suggestion.lines { "\($0)" } == [
                "permit 33 unit nginx.service key web", "permit 33 unit nginx.service sign api for tls-client",
                "permit 33 unit nginx.service sign two web for tls-server", "permit 34 sign api",
                "permit 34 sign web for tls-server",
            ])
        // The files of the keys are in none of these records.
        let output = try tool("policy", "suggest", "--policy", folder.write("none", ""), status: 78)
        #expect(output.contains(" unit nginx.service sign two web for tls-server\n"), "\(output)")
    }
}
