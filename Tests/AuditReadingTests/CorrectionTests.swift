// A grant that never reached its caller does not count: not in a sum, not as the last grant, not as a use.

import AuditReading
import Foundation
import Kernel
import Policy
import PolicyLoading
import TestSupport
import Testing

struct CorrectionTests {
    private let folder = TemporaryFolder("corrections")
    private let unmapped: (uid: UInt32, gid: UInt32) = (65_534, 65_534)

    private static func grant(_ seq: Int, key: String = "k", rule: String? = nil) -> String {
        fields(seq, "granted", "permitted", nil, key, #","rule":"\#(rule ?? "p:\(seq)")""#)
    }

    /// - Parameter of: whether the number of the grant is in a field of its own, and not only in the text.
    private static func correction(
        _ seq: Int, ofGrant grant: Int, of: Bool = true, _ decision: String = "unavailable", key: String = "k"
    ) -> String {
        fields(
            seq, decision, "not-delivered", of ? "gone" : "decision \(grant) was not delivered: sendmsg: Broken pipe",
            key,
            #","rule":"p:\#(grant)""# + (of ? ",\"of\":\(grant)" : ""))
    }

    private static func fields(
        _ seq: Int, _ decision: String, _ reason: String, _ detail: String?, _ key: String, _ rest: String
    ) -> String {
        #""seq":\#(seq),"time":"2026-11-23T13:00:\#(seq % 60 + 100)Z","event":"request","verb":"get","#
            + #""decision":"\#(decision)","reason":"\#(reason)","# + (detail.map { "\"detail\":\"\($0)\"," } ?? "")
            + #""key":"\#(key)","uid":5,"gid":5,"groups":[7],"unit":"a.service""# + rest
    }

    private func outcome(_ records: [String]) throws -> (count: Int, Requests.Outcome) {
        let requests = try requests(records, in: folder)
        #expect(requests.all.count == 1)
        return (requests.count, try #require(requests.all.first?.outcome))
    }

    @Test(arguments: [true, false], ["unavailable", "busy"])
    func aGrantThatWasNotDeliveredIsNone(_ of: Bool, _ decision: String) throws {
        let (count, outcome) = try outcome([
            Self.grant(1), Self.grant(2), Self.correction(3, ofGrant: 2, of: of, decision),
        ])
        #expect(count == 2)
        #expect((outcome.granted, outcome.permitted, outcome.used) == (1, 2, 1))
        #expect((outcome.unavailable, outcome.busy) == (decision == "busy" ? (0, 1) : (1, 0)))
        #expect(outcome.lastGrant?.contains(":101Z") == true)
        #expect(outcome.rule == "p:1")
    }

    /// A caller may be granted the key after it was denied.
    @Test func theTimeOfADenialIsNotThatOfALaterGrant() throws {
        let (_, outcome) = try outcome([Self.fields(1, "denied", "no-rule", nil, "k", ""), Self.grant(2)])
        #expect(outcome.lastDenial?.contains(":101Z") == true)
        #expect(outcome.last.contains(":102Z"))
        #expect(try self.outcome([Self.grant(1)]).1.lastDenial == nil)
    }

    /// `audit summary` shows that time.
    @Test func theSummaryHasTheTimeOfTheDenial() throws {
        func record(_ seq: Int, _ hour: Int, _ decision: String, _ reason: String) -> String {
            #""seq":\#(seq),"time":"2026-11-23T\#(hour):00:00Z","event":"request","verb":"get","#
                + #""decision":"\#(decision)","reason":"\#(reason)","key":"k","uid":61077,"gid":5,"groups":[]"#
        }
        try folder.write(
            "log", chainedText([record(1, 13, "denied", "no-rule"), record(2, 15, "granted", "permitted")]))
        try folder.write("policy", "key k \(folder["key"])\n")
        let (status, output, errors) = try Program.run(
            Program.built("keybroker"),
            ["audit", "summary", "--format", "json", "--audit", folder["log"], "--policy", folder["policy"]],
            environment: ["TZ": "UTC"])
        #expect(status == 0, "\(errors)")
        let denial = try #require(output.split(separator: "\n").first { $0.contains(#""kind":"denial""#) })
        #expect(denial.contains(#""last":"2026-11-23T13:00:00"#), "\(denial)")
    }

    @Test func correctionsComeInAnyOrder() throws {
        let grants = (1...5).map { Self.grant($0) }
        let corrections = [2, 5, 4].enumerated().map { Self.correction(6 + $0.offset, ofGrant: $0.element) }
        let (count, outcome) = try outcome(grants + corrections)
        #expect((count, outcome.granted, outcome.unavailable, outcome.rule) == (5, 2, 3, "p:3"))
        let (all, none) = try self.outcome([Self.grant(1), Self.correction(2, ofGrant: 1)])
        #expect((all, none.granted, none.used, none.permitted) == (1, 0, 0, 1))
        #expect(none.lastGrant == nil && none.rule == nil)
    }

    /// The number of remembered grants is bounded, so older grants are not taken back.
    @Test func onlyTheLastGrantsAreTakenBack() throws {
        let grants = (1...1000).map { Self.grant($0) }
        let (count, outcome) = try outcome(
            grants + (0..<1000).map { Self.correction(1001 + $0, ofGrant: 1000 - $0) })
        #expect(outcome.granted + outcome.unavailable >= count)
        #expect((800...936).contains(outcome.granted))
        #expect(outcome.lastGrant != nil)
        #expect(outcome.rule == "p:\(outcome.granted)")
    }

    /// Corrections of grants that do not exist, of themselves, or of the same grant twice; and too many of them.
    @Test(arguments: [
        [correction(1, ofGrant: 1)], [correction(1, ofGrant: 0, of: false)],
        [grant(1), correction(2, ofGrant: 1), correction(3, ofGrant: 1), correction(4, ofGrant: 1, "busy")],
        [grant(1), correction(2, ofGrant: 9_223_372_036_854_775_807)],
    ])
    func moreCorrectionsThanGrants(_ records: [String]) throws {
        let (count, outcome) = try outcome(records)
        #expect(outcome.granted >= 0 && outcome.used >= 0)
        #expect(count == outcome.granted + outcome.unavailable + outcome.busy)
        #expect(outcome.used == outcome.granted)
    }

    /// A correction does not take back the grant of another key or another caller.
    @Test func aCorrectionIsOfItsOwnQuestion() throws {
        let records = [Self.grant(1), Self.grant(2, key: "other"), Self.correction(3, ofGrant: 2)]
        let requests = try requests(records, in: folder)
        #expect(requests.all.allSatisfy { $0.outcome.granted == 1 })
        #expect(requests.count == 3)
    }

    /// A folded record does not say which key, so it takes nothing back.
    @Test func whatWasFoldedTakesNothingBack() throws {
        let folded =
            #""seq":2,"time":"t","event":"request","decision":"busy","reason":"folded","#
            + #""detail":"as many more from uid 5 within the second before","uid":5,"suppressed":3"#
        let requests = try requests([Self.grant(1), folded], in: folder)
        #expect(requests.count == 4)
        #expect(requests.all.map(\.outcome.granted).sorted() == [0, 1])
        let suppressed = Self.correction(2, ofGrant: 1).replacing(",\"of\":1", with: ",\"suppressed\":2,\"of\":1")
        #expect(try outcome([Self.grant(1), suppressed]).1.granted == 1)
    }

    @Test func replayAndReviewCountThePairOnce() throws {
        try folder.write("file", "KEY", mode: 0o600)
        func policy(_ line: String) throws -> Policy {
            try folder.write("p.policy", "key k \(folder["file"])\n\(line)\n")
            return try #require(PolicyFiles([folder["p.policy"]], owners: .now).load(warns: false).loaded).policy
        }
        let (old, new) = (try policy("permit 5 key k"), try policy("permit 6 key k"))
        for decision in ["busy", "unavailable"] {
            let vain = try requests([Self.grant(1), Self.correction(2, ofGrant: 1, decision)], in: folder)
            // The request was permitted before and would not be now. It counts once.
            #expect(vain.changes(under: new, unmapped: unmapped).map(\.requests) == [1])
            #expect(vain.changes(under: old, unmapped: unmapped).isEmpty)
            // Nobody received the key.
            let unused = vain.unused(of: old, unmapped: unmapped)
            #expect((unused.keys.count, unused.rules.count) == (1, 1))
            let delivered = try requests(
                [Self.grant(1), Self.grant(2), Self.correction(3, ofGrant: 1, decision)], in: folder)
            #expect(delivered.changes(under: new, unmapped: unmapped).map(\.requests) == [2])
            #expect(delivered.unused(of: old, unmapped: unmapped).keys.isEmpty)
        }
    }

    @Test func theSummarySaysSo() throws {
        try folder.write("file", "KEY", mode: 0o600)
        try folder.write("p.policy", "key k \(folder["file"])\npermit 5 key k\n")
        try folder.write(
            "log", chainedText([Self.grant(1), Self.grant(2), Self.correction(3, ofGrant: 2, of: false)]))
        let (status, output, errors) = try Program.run(
            Program.built("keybroker"),
            ["audit", "summary", "--format", "json", "--audit", folder["log"], "--policy", folder["p.policy"]])
        #expect(status == 0, "\(errors)")
        #expect(output.contains(#""granted":1,"denied":0,"unavailable":1,"busy":0"#), "\(output)")
    }
}
