// Records that do not name all groups of their caller. A replay says if the answer depends on the other groups.

import AuditReading
import Foundation
import Kernel
import Policy
import PolicyLoading
import TestSupport
import Testing

struct OtherGroupsTests {
    private let folder = TemporaryFolder("othergroups")
    private let unmapped: (uid: UInt32, gid: UInt32) = (65_534, 65_534)

    private static func record(
        _ seq: Int, _ decision: String = "granted", groups: String, unit: String = "a.service", policy: String = "old"
    ) -> String {
        #""seq":\#(seq),"time":"2026-11-23T13:00:05Z","event":"request","verb":"get","decision":"\#(decision)","#
            + #""reason":"permitted","key":"k","uid":5,"gid":50,"groups":\#(groups),"unit":"\#(unit)","#
            + #""policy":"\#(policy)""#
    }

    private func policy(_ line: String) throws -> Policy {
        try folder.write("file", "KEY", mode: 0o600)
        try folder.write("p.policy", "key k \(folder["file"])\n\(line)\n")
        return try #require(PolicyFiles([folder["p.policy"]], owners: .now).load(warns: false).loaded).policy
    }

    /// The number of requests that change, and of requests for which the log cannot tell.
    private func replay(_ records: [String], _ line: String, digest: String? = nil) throws -> [Int] {
        let (requests, policy) = (try requests(records, in: folder), try policy(line))
        return [
            requests.changes(under: policy, digest: digest, unmapped: unmapped).reduce(0) { $0 + $1.requests },
            requests.untold(under: policy, digest: digest, unmapped: unmapped).reduce(0) { $0 + $1.requests },
        ]
    }

    @Test func aGroupThatTheLogDoesNotNameIsNotGuessed() throws {
        let some = [Self.record(1, groups: #"[7],"other-groups":2"#)]
        #expect(try replay(some, "permit :7 key k") == [0, 0])
        #expect(try replay(some, "permit :50 key k") == [0, 0])
        #expect(try replay(some, "permit 6 key k") == [1, 0])
        #expect(try replay(some, "permit :8 key k") == [0, 1])
        #expect(try replay(some, "permit :8 unit a.service key k") == [0, 1])
        // Its unit does not match, whatever its groups are.
        #expect(try replay(some, "permit :8 unit b.service key k") == [1, 0])
        // If all groups are named, as in older logs, the answer is known.
        #expect(try replay([Self.record(1, groups: "[7]")], "permit :8 key k") == [1, 0])
        #expect(try replay([Self.record(1, groups: #"[7],"other-groups":0"#)], "permit :8 key k") == [1, 0])
        // A denial can become a grant as well.
        let denied = [Self.record(1, "denied", groups: #"[],"other-groups":2"#)]
        #expect(try replay(denied, "permit :8 key k") == [0, 1])
        #expect(try replay(denied, "permit 5 key k") == [1, 0])
        #expect(try replay(denied, "permit 6 key k") == [0, 0])
    }

    /// The policy of that time names every group that it asks for, so the log is enough for it.
    @Test func thePolicyOfThatTimeAsksForNoOtherGroup() throws {
        let records = [1, 2].map { Self.record($0, "denied", groups: #"[],"other-groups":2"#) }
        #expect(try replay(records, "permit :8 key k", digest: "old") == [0, 0])
        #expect(try replay(records, "permit :8 key k", digest: "new") == [0, 2])
        let mixed = records + [Self.record(3, "denied", groups: #"[],"other-groups":2"#, policy: "older")]
        #expect(try replay(mixed, "permit :8 key k", digest: "old") == [0, 3])
        #expect(try replay(mixed, "permit :8 key k", digest: "older") == [0, 3])
    }

    /// The same for the status. A query that no line permitted, as one of an administrator, is under no policy.
    @Test func aQueryOfTheStatusCanDependOnAnotherGroup() throws {
        func query(_ decision: String, _ rest: String = "") -> String {
            #""seq":1,"time":"2026-11-23T13:00:05Z","event":"request","verb":"status","decision":"\#(decision)","#
                + #""uid":5,"gid":50,"groups":[7],"other-groups":1\#(rest),"policy":"old""#
        }
        let granted = query("granted", #","rule":"/p:1""#)
        #expect(try replay([granted], "permit :7 status") == [0, 0])
        #expect(try replay([granted], "permit :8 status") == [0, 1])
        #expect(try replay([granted], "permit 6 status") == [1, 0])
        #expect(try replay([granted], "permit :8 status", digest: "old") == [1, 0])
        #expect(try replay([query("granted")], "permit 6 status") == [0, 0])
        #expect(try replay([query("denied")], "permit 5 status") == [1, 0])
        #expect(try replay([query("denied")], "permit :8 status") == [0, 1])
    }

    @Test func theReplaySaysSoInALineOfItsOwn() throws {
        _ = try policy("permit :8 key k")
        try folder.write(
            "log", chainedText([1, 2].map { Self.record($0, groups: #"[7],"other-groups":1"#) }))
        func replay(_ format: String) throws -> [String] {
            let (status, output, errors) = try Program.run(
                Program.built("keybroker"),
                ["policy", "replay", "--policy", folder["p.policy"], "--audit", folder["log"], "--format", format])
            #expect(status == 0, "\(errors)")
            return output.split(separator: "\n").map(String.init)
        }
        let text = try replay("text")
        #expect(text.count == 2)
        #expect(
            text.last == "2 requests cannot be told: the log has only the groups that the policy of that time named: "
                + "k by uid 5")
        #expect(try replay("json") == [#"{"change":"untold","key":"k","uid":5,"requests":2}"#])
    }
}
