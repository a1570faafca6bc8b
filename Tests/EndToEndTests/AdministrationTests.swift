// What an administrator asks of a running broker: its status, and to take a new policy.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: it becomes other accounts"))
struct AdministrationTests {
    private let folder = TemporaryFolder("administration")

    private func daemon(_ policy: String = "") throws -> Daemon {
        try folder.write("key", "KEY", mode: 0o600)
        return try Daemon(folder, policy: "key k \(folder["key"])\npermit 61001 key k\n" + policy)
    }

    private func tool(_ daemon: Daemon, _ arguments: [String]) throws -> (status: Int32, output: String, errors: String)
    {
        try Program.run(Program.built("keybroker"), arguments + ["--socket", daemon.socket])
    }

    private func status(_ daemon: Daemon) throws -> [String: Any] {
        let (status, output, errors) = try tool(daemon, ["status", "--format", "json"])
        try #require(status == 0, "\(errors)")
        return try #require(try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any])
    }

    @Test func theStatusSaysWhatTheLogSays() throws {
        let daemon = try daemon()
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        for _ in 0..<3 { #expect(try peer.ask("1Gk").status == "K") }
        #expect(try peer.ask("1Gnope").status == "D")
        #expect(try peer.ask("1L").status == "L")
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gk").status == "D")
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("nonsense").status == "E")

        let said = try status(daemon)
        var counts: [String: Int] = [:]
        for request in try #require(said["requests"] as? [[String: Any]]) {
            let words = ["verb", "decision", "reason"].compactMap { request[$0] as? String }
            counts[words.joined(separator: " ")] = request["count"] as? Int
        }
        #expect(
            counts == [
                "get granted permitted": 3, "get denied unknown-key": 1, "get denied no-rule": 1,
                "list granted permitted": 1, "malformed unknown-version": 1,
            ])
        let keys = try #require(said["keys"] as? [[String: Any]])
        #expect(keys.count == 1)
        #expect(keys.first?["key"] as? String == "k")
        #expect(keys.first?["granted"] as? Int == 3)
        #expect(keys.first?["denied"] as? Int == 1)
        #expect(said["pid"] as? Int == Int(daemon.pid))
        #expect(said["connections"] as? Int == 2)
        #expect(said["policy-paths"] as? [String] == [folder["policy"]])
        let records = try daemon.records()
        // The status does not count its own record, which was written after it.
        #expect(said["audit-seq"] as? Int == records.count - 1)
        #expect(said["audit-head"] as? String == records[records.count - 2]["chain"] as? String)
        #expect(said["policy"] as? String == records.last?["policy"] as? String)
    }

    @Test func onlyAdministratorsAreTold() throws {
        let daemon = try daemon()
        let reply = try PeerProcess(daemon.socket, uid: 61001).ask("1S")
        #expect(reply.packet == "1D\(reply.decision) not permitted")
        #expect(try daemon.record(reply.decision)["reason"] as? String == "not-administrator")
        #expect(try daemon.record(reply.decision)["verb"] as? String == "status")
        #expect(try PeerProcess(daemon.socket, uid: Daemon.uid).ask("1S").status == "S")
        #expect(try PeerProcess(daemon.socket).ask("1S").packet.contains("\npid \(daemon.pid)\n"))
    }

    /// If there are more keys than fit into one packet, the pages together name each of them once, in order.
    @Test func theStatusOfManyKeysComesInPages() throws {
        let names = (0..<200).map { "key-of-some-length-\($0 + 1000)" }
        let lines = names.map { "key \($0) \(folder["key"])\npermit 61001 key \($0)" }.joined(separator: "\n")
        let daemon = try daemon("limit 61001 requests 1000\nlimit 0 requests 1000\n\(lines)\n")
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        for name in names { #expect(try peer.ask("1G\(name)").status == "K") }
        let keys = try #require(try status(daemon)["keys"] as? [[String: Any]])
        #expect(keys.compactMap { $0["key"] as? String } == names)
        #expect(keys.allSatisfy { $0["granted"] as? Int == 1 })
        let root = try PeerProcess(daemon.socket)
        let first = try root.ask("1S").packet
        #expect(first.utf8.count <= 4096)
        let cursor = try #require(first.split(separator: "\n").last?.split(separator: " "))
        #expect(cursor.first == "more")
        #expect(try root.ask("1S\(cursor[1])").packet.hasPrefix("1Skey "))
        #expect(try root.ask("1Sno such name").status == "E")
    }

    @Test func openMetricsAreWellFormed() throws {
        let daemon = try daemon()
        #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").status == "K")
        let (status, metrics, _) = try tool(daemon, ["status", "--format", "openmetrics"])
        #expect(status == 0)
        #expect(metrics.hasSuffix("# EOF\n"))
        #expect(
            metrics.contains("keybroker_requests_total{verb=\"get\",decision=\"granted\",reason=\"permitted\"} 1\n"))
        let file = try folder.write("metrics", metrics)
        guard let promtool = installed("promtool") else { return print("skipped: promtool is not installed") }
        let check = try Program.run("/bin/sh", ["-c", "\(promtool) check metrics < \(file) 2>&1"])
        #expect(check.status == 0, "\(check.output)")
        #expect(check.output.isEmpty)
        // The OpenMetrics parser is stricter than promtool.
        let parser = """
            from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
            print(sum(len(family.samples) for family in parse(open("\(file)").read())))
            """
        let parsed = try Program.run("/usr/bin/python3", ["-c", parser])
        #expect(parsed.status == 0, "\(parsed.errors)")
        #expect(Int(parsed.output.dropLast()) == metrics.split(separator: "\n").count { !$0.hasPrefix("#") })
    }

    @Test func aReloadReturnsWhenThePolicyIsInForce() throws {
        let daemon = try daemon()
        let before = try status(daemon)["policy"] as? String
        try folder.write("policy", "key k \(folder["key"])\npermit 61002 key k\n")
        let (outcome, output, errors) = try tool(daemon, ["reload"])
        #expect(outcome == 0, "\(errors)")
        let now = try #require(try status(daemon)["policy"] as? String)
        #expect(now != before)
        #expect(output == "in force: 1 key, 1 permission; policy \(now)\n")
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gk").status == "K")
        #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").status == "D")
    }

    @Test func aFaultyPolicyIsNotEvenAskedFor() throws {
        let daemon = try daemon()
        let before = try status(daemon)["policy"] as? String
        try folder.write("policy", "key k \(folder["key"])\npermit 61002 kee k\n")
        let (outcome, output, errors) = try tool(daemon, ["reload", "--policy", folder["policy"]])
        #expect(outcome == 78)
        #expect(output.isEmpty)
        #expect(errors.contains("policy:2:14: error: unknown word 'kee'"), "\(errors)")
        #expect(errors.contains("\npermit 61002 kee k\n             ^~~\n"), "\(errors)")
        #expect(errors.contains("the old one stays in force"))
        #expect(try status(daemon)["policy"] as? String == before)
        #expect(try daemon.records().contains { $0["event"] as? String == "reload" } == false)
    }

    /// The tool opens no file that only the daemon names. The daemon's own faults are told.
    @Test func aPolicyThatNobodyNamedIsCheckedByTheDaemonAlone() throws {
        let daemon = try daemon()
        try folder.write("policy", "key k \(folder["key"])\npermit 61002 kee k\n")
        let (outcome, output, errors) = try tool(daemon, ["reload"])
        #expect(outcome == 78)
        #expect(output.isEmpty)
        #expect(errors.contains("reads its policy from \(folder["policy"]), which only itself checks"), "\(errors)")
        #expect(errors.contains("policy:2:14: error: unknown word 'kee'"), "\(errors)")
        #expect(!errors.contains("permit 61002 kee k"), "\(errors)")
        #expect(errors.contains("the old one stays in force"))
        let reload = try #require(try daemon.records().first { $0["event"] as? String == "reload" })
        #expect(reload["decision"] as? String == "rejected")
        let other = try folder.write("other", "key k \(folder["key"])\n")
        let refused = try tool(daemon, ["reload", "--policy", other])
        #expect(refused.status == 64)
        #expect(refused.errors.contains("not from \(other); it was not asked"), "\(refused.errors)")
        #expect(try daemon.records().count { $0["event"] as? String == "reload" } == 1)
        try folder.write("policy", "key k \(folder["key"])\npermit 61002 key k\n")
        // However the path is written.
        let name = folder.path.split(separator: "/").last ?? ""
        for written in ["policy", "./policy", ".//./policy", "../\(name)/policy"] {
            let taken = try Program.run(
                Program.built("keybroker"), ["reload", "--socket", daemon.socket, "--policy", written],
                directory: folder.path)
            #expect(taken.status == 0, "\(taken.errors)")
            #expect(taken.errors.isEmpty, "\(taken.errors)")
        }
    }

    /// The daemon is not root and sees faults that the tool cannot see. Here, not even its group may read the file.
    @Test func whatTheDaemonRejectsIsToldWithItsReasons() throws {
        let daemon = try daemon()
        try folder.write("policy", "nonsense\n")
        #expect(try daemon.reload().contains("stays in force"))
        let said = try status(daemon)
        #expect(said["last-reload"] as? String == "rejected")
        #expect(said["reloads-rejected"] as? Int == 1)
        let faults = try #require(said["last-reload-faults"] as? [String])
        #expect(faults.first?.contains("policy:1:1: error: unknown statement 'nonsense'") == true)
        try folder.write("policy", "key k \(folder["key"])\n")
        #expect(try tool(daemon, ["reload"]).status == 0)
        #expect(try status(daemon)["last-reload"] as? String == "applied")
        #expect((try status(daemon)["last-reload-faults"] as? [String])?.isEmpty == true)
    }

    @Test func whoeverMayNotIsTurnedAway() throws {
        let daemon = try daemon()
        let (status, output, errors) = try Program.run(
            installed("setpriv") ?? "setpriv",
            [
                "--reuid", "61001", "--regid", "61001", "--clear-groups", Program.built("keybroker"), "reload",
                "--socket", daemon.socket,
            ])
        #expect(status == 77)
        #expect(output.isEmpty)
        // That a line can permit the status is no help here.
        #expect(errors.hasSuffix("it takes root, or the broker's account\n"), "\(errors)")
        try daemon.stop()
        #expect(try tool(daemon, ["reload"]).status == 69)
        #expect(try tool(daemon, ["status"]).status == 69)
    }
}
