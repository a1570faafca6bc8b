// Somebody who may ask for the status, and what of that is in the log.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: callers under other uids"))
struct StatusPermitTests {
    private let folder = TemporaryFolder("statuspermit")

    private func daemon(_ more: String = "") throws -> Daemon {
        try folder.write("key", "KEY", mode: 0o600)
        return try Daemon(folder, policy: "key k \(folder["key"])\npermit 61001 key k\npermit 61005 status\n\(more)")
    }

    private func tool(_ arguments: [String], as uid: Int? = nil) throws -> (
        status: Int32, output: String, errors: String
    ) {
        guard let uid else {
            return try Program.run(Program.built("keybroker"), arguments, directory: folder.path)
        }
        let identity = ["--reuid", "\(uid)", "--regid", "\(uid)", "--clear-groups", Program.built("keybroker")]
        return try Program.run(installed("setpriv") ?? "setpriv", identity + arguments)
    }

    @Test func aMonitoringAccountAsksAndOthersDoNot() throws {
        let daemon = try daemon()
        let metrics = try tool(["status", "--format", "openmetrics", "--socket", daemon.socket], as: 61005)
        #expect(metrics.status == 0 && metrics.output.hasSuffix("# EOF\n"), "\(metrics.errors)")
        let refused = try tool(["status", "--socket", daemon.socket], as: 61001)
        #expect(refused.status == 77 && refused.errors.contains("'permit USER status'"))
        #expect(try tool(["rotation", "status", "--socket", daemon.socket], as: 61005).status == 77)
        #expect(try tool(["reload", "--socket", daemon.socket, "--policy", folder["policy"]], as: 61005).status != 0)
        let records = try daemon.records().filter { $0["verb"] as? String == "status" }
        #expect(records.first?["rule"] as? String == "\(folder["policy"]):3")
        #expect(records.first?["uid"] as? Int == 61005)
        try daemon.stop()
    }

    /// A timer that asks every 15 seconds, and a reload, write no more than they say.
    @Test func statusQueriesHardlyWriteToTheLog() throws {
        let daemon = try daemon()
        for _ in 0..<20 {
            #expect(try PeerProcess(daemon.socket, uid: 61005).ask("1S").status == "S")
            #expect(try PeerProcess(daemon.socket).ask("1S").status == "S")
            #expect(try PeerProcess(daemon.socket).ask("1R").status == "S")
        }
        for _ in 0..<3 {
            #expect(try tool(["reload", "--socket", daemon.socket, "--policy", folder["policy"]]).status == 0)
        }
        func said(_ record: [String: Any]) -> String {
            ["event", "verb", "uid", "reason", "suppressed"].map { "\(record[$0] ?? "-")" }.joined(separator: " ")
        }
        let expected = [
            "start - - - -", "request status 61005 permitted -", "request status 0 permitted -",
            "request rotation 0 permitted -", "reload - 0 - -", "reload - 0 - -", "reload - 0 - -",
        ]
        #expect(try daemon.records().map(said) == expected)
        let status = try tool(["status", "--socket", daemon.socket, "--format", "json"]).output
        #expect(status.contains(#"{"verb":"rotation","decision":"granted","reason":"permitted","count":20}"#))
        try daemon.stop()
        let folded = try daemon.records().dropFirst(expected.count).map(said)
        #expect(folded.last == "stop - - - -")
        let counted = try daemon.records().filter { $0["reason"] as? String == "folded" }
        #expect(counted.first { $0["uid"] as? Int == 61005 }?["rule"] as? String == "\(folder["policy"]):3")
        #expect(counted.allSatisfy { $0["uid"] as? Int == 61005 || $0["rule"] == nil })
        #expect(folded.contains("request status 61005 folded 19") && folded.contains("request rotation 0 folded 19"))
        #expect(folded.count == 4)
    }

    /// Nobody is kept from a key because of somebody who may only look.
    @Test func whoMayLookHoldsNobodyUp() throws {
        let daemon = try daemon("permit :61500 status\n")
        let members = try (0..<40).map { try PeerProcess(daemon.socket, uid: 61600 + UInt32($0), groups: [61500]) }
        for member in members { #expect(try member.ask("1S").status == "S") }
        // Each has one connection at a time, as somebody whom no line names.
        let second = try PeerProcess(daemon.socket, uid: 61600, groups: [61500])
        #expect(try second.ask("1S").status == "B")
        #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").status == "K")
        try daemon.stop()
    }

    @Test func theToolsKnowWhoMayLook() throws {
        let daemon = try daemon()
        for uid in [61005, 61006] as [UInt32] { _ = try PeerProcess(daemon.socket, uid: uid).ask("1S") }
        try daemon.stop()
        let key = "key k \(folder["key"])\npermit 61001 key k\n"
        try folder.write("new", key + "permit 61006 status\n")
        func lines(_ arguments: [String]) throws -> [String] {
            try tool(arguments).output.split(separator: "\n").map {
                $0.split(separator: " ").joined(separator: " ")
            }
        }
        #expect(
            try lines(["policy", "diff", "policy", "new"]) == [
                "change key who unit line right", "loses - 61005 - policy:3 status", "gains - 61006 - new:3 status",
            ])
        #expect(try lines(["policy", "show", "--policy", "new"]).last == "- - 61006 - new:3 status")
        let replayed = try lines(["policy", "replay", "--policy", "new", "--audit", daemon.audit])
        #expect(replayed.first == "change key user unit requests last line right")
        #expect(replayed.count == 3)
        #expect(replayed[1].hasPrefix("loses - 61005 ") && replayed[1].hasSuffix(" status"), "\(replayed)")
        #expect(replayed[2].hasPrefix("gains - 61006 ") && replayed[2].hasSuffix(" new:3 status"), "\(replayed)")
        #expect(try tool(["policy", "explain", "--user", "61006", "--status", "--policy", "new"]).status == 0)
        let denied = try tool(["policy", "explain", "--user", "61005", "--status", "--policy", "new"])
        #expect(denied.status == 77 && denied.output.contains("new:3: permit 61006 status"))
        #expect(try tool(["policy", "explain", "--user", "61005", "--status", "--key", "k"]).status == 64)
        try folder.write(
            "expectations", "expect 61006 status granted\nexpect 61005 status denied\nexpect 0 status granted\n")
        #expect(try tool(["policy", "test", "expectations", "--policy", "new"]).output == "3 expectations met\n")
        try folder.write("expectations", "expect 61006 status denied\nexpect unit:a.service status granted\n")
        let failed = try tool(["policy", "test", "expectations", "--policy", "new"])
        #expect(failed.errors.contains("expectations:1:21: error: granted by new:3"))
        #expect(failed.errors.contains("expectations:2:30: error: denied: no line permits the status"))
    }

    /// What the log says of it: who asked, which line nobody used, and what would permit it again.
    @Test func theLogExplainsTheLines() throws {
        let daemon = try daemon("permit 61006 status\n")
        for _ in 0..<3 { #expect(try PeerProcess(daemon.socket, uid: 61005).ask("1S").status == "S") }
        // An administrator needs no line.
        #expect(try PeerProcess(daemon.socket).ask("1S").status == "S")
        try daemon.stop()
        let log = ["--audit", daemon.audit]
        let suggested = try tool(["policy", "suggest"] + log)
        #expect(suggested.status == 0, "\(suggested.errors)")
        #expect(suggested.output.split(separator: "\n").dropFirst() == ["permit 61005 status"], "\(suggested.output)")
        func objects(_ more: String...) throws -> [String] {
            let summary = try tool(["audit", "summary", "--format", "json", "--policy", "policy"] + log + more)
            #expect(summary.status == 0, "\(summary.errors)")
            return try summary.output.split(separator: "\n").map { line in
                let row = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
                return ["kind", "key", "user", "permitted", "granted", "right"].compactMap { row[$0].map { "\($0)" } }
                    .joined(separator: " ")
            }
        }
        // The first query has its unit in the log, and the counted ones have not.
        let all = try objects()
        let uses = all.filter { $0.hasPrefix("use 61005 ") && $0.hasSuffix(" status") }
        #expect(uses.compactMap { Int($0.split(separator: " ")[2]) }.reduce(0, +) == 3, "\(all)")
        #expect(!all.contains { $0.hasPrefix("use 0") })
        let unused = all.filter { $0.hasPrefix("unused-permit") }
        #expect(unused == ["unused-permit k 61001 key", "unused-permit 61006 status"], "\(all)")
        #expect(try objects("--user", "61006") == ["unused-permit 61006 status"])
        #expect(try objects("--user", "61001") == ["unused-permit k 61001"])
        #expect(try objects("--key", "k") == ["unused-key k", "unused-permit k 61001"])
    }
}
