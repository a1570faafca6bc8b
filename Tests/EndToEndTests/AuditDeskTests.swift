// The tool's commands on the log, run from the command line: what an admin and an auditor see.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: it becomes other accounts"))
struct AuditDeskTests {
    private let folder = TemporaryFolder("desk")

    private func daemon() throws -> Daemon {
        try folder.write("key", "KEY", mode: 0o600)
        return try Daemon(
            folder,
            policy: """
                key k \(folder["key"])
                key idle \(folder["key"])
                permit 61001 key k
                permit 61003 key k idle

                """)
    }

    private func tool(_ arguments: [String]) throws -> (status: Int32, output: String, errors: String) {
        try Program.run(Program.built("keybroker"), arguments)
    }

    /// A log with a record of every kind.
    private func log() throws -> Daemon {
        let daemon = try daemon()
        let permitted = try PeerProcess(daemon.socket, uid: 61001)
        for _ in 0..<3 { #expect(try permitted.ask("1Gk").status == "K") }
        #expect(try permitted.ask("1Gnope").status == "D")
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gk").status == "D")
        return daemon
    }

    @Test func recordsAreShownInColumns() throws {
        let daemon = try log()
        let (status, output, errors) = try tool(["audit", "show", "--audit", daemon.audit])
        #expect(status == 0, "\(errors)")
        let lines = output.split(separator: "\n").map(String.init)
        #expect(lines.count == 7)
        #expect(lines.first?.hasPrefix("seq     time") == true)
        let columns = try #require(lines.first).ranges(of: #/\S+/#).map(\.lowerBound)
        #expect(columns.count == 8)
        // Each column begins where its heading begins.
        for line in lines.dropFirst() {
            for column in columns.dropFirst() {
                let offset = lines[0].distance(from: lines[0].startIndex, to: column)
                #expect(line.dropFirst(offset - 1).first == " ", "\(line)")
                #expect(line.dropFirst(offset).first != " ", "\(line)")
            }
        }
        #expect(lines[2].contains("get      granted      k"))
        #expect(lines[2].contains("policy:3 (python3["))
        #expect(lines[5].contains("denied       nope"))
        #expect(lines[5].contains("unknown-key"))
        #expect(!output.contains("\u{1B}"))
    }

    /// Colour is used only on a terminal, and not if NO_COLOR forbids it.
    @Test func decisionsHaveAColourOnATerminal() throws {
        let daemon = try log()
        func shown(_ environment: [String: String]) throws -> String {
            let command = "\(Program.built("keybroker")) audit show --audit \(daemon.audit)"
            let (status, output, _) = try Program.run(
                installed("script") ?? "script", ["-qec", command, "/dev/null"],
                environment: ["TERM": "xterm", "PATH": "/usr/bin:/bin"].merging(environment) { $1 })
            #expect(status == 0)
            return output
        }
        let coloured = try shown([:])
        #expect(coloured.contains("\u{1B}[32mgranted\u{1B}[0m"))
        #expect(coloured.contains("\u{1B}[31mdenied\u{1B}[0m"))
        #expect(try !shown(["NO_COLOR": "1"]).contains("\u{1B}["))
        #expect(try !shown(["TERM": "dumb"]).contains("\u{1B}["))
        // Times are in the reader's time zone.
        #expect(try shown(["TZ": "Asia/Kolkata"]).contains("+05:30"))
        // This zone is given by its rules and not by its name.
        #expect(try shown(["TZ": "XST-5:45"]).contains("+05:45"))
    }

    @Test func filtersAreAllToMatch() throws {
        let daemon = try log()
        func numbers(_ filters: String...) throws -> [Int] {
            let (status, output, errors) = try tool(
                ["audit", "show", "--format", "json", "--audit", daemon.audit] + filters)
            #expect(status == 0, "\(errors)")
            return try output.split(separator: "\n").compactMap {
                try (JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])?["seq"] as? Int
            }
        }
        #expect(try numbers() == [1, 2, 3, 4, 5, 6])
        #expect(try numbers("--key", "k") == [2, 3, 4, 6])
        #expect(try numbers("--key", "k", "--decision", "denied") == [6])
        #expect(try numbers("--user", "61001") == [2, 3, 4, 5])
        #expect(try numbers("--seq", "3") == [3])
        #expect(try numbers("--seq", "3-5", "--user", "61001", "--decision", "granted") == [3, 4])
        #expect(try numbers("--since", "today", "--until", "today").isEmpty == false)
        #expect(try numbers("--since", "-1h") == [1, 2, 3, 4, 5, 6])
        #expect(try numbers("--until", "-1h").isEmpty)
        #expect(try numbers("--since", "now").isEmpty)
        #expect(try numbers("--unit", "*.service", "--key", "k").isEmpty)
        let third = try #require(try daemon.record(3)["time"] as? String)
        #expect(try numbers("--since", third).first == 3)
        #expect(try numbers("--until", third) == [1, 2])
    }

    @Test(arguments: [
        (["--since", "soon"], "--since: 'soon' is no time"), (["--seq", "x"], "--seq: 'x' is no number"),
        (["--seq", "9-3"], "--seq: '9-3'"), (["--key", "No"], "--key: a key name is made of"),
        (["--unit", "x"], "--unit: a unit that holds processes"), (["--decision", "maybe"], "maybe"),
        (["--since", "\u{1B}[2J"], "\\u{1b}"),
    ])
    func wrongInputGetsOneClearLine(_ arguments: [String], _ words: String) throws {
        try folder.write("empty", "")
        let (status, output, errors) = try tool(["audit", "show", "--audit", folder["empty"]] + arguments)
        #expect(status == 64)
        #expect(output.isEmpty)
        #expect(errors.contains(words), "\(errors)")
        #expect(!errors.contains("\u{1B}"))
    }

    @Test func aBrokenChainIsToldAndTheRestIsShown() throws {
        let daemon = try log()
        try daemon.stop()
        try folder.shell("sed -i '3s/61001/61009/' log/audit.jsonl")
        let (status, output, errors) = try tool(["audit", "show", "--audit", daemon.audit])
        #expect(status == 74)
        #expect(output.split(separator: "\n").count == 8)
        #expect(errors.contains("audit.jsonl:3: record 3 was changed"))
        #expect(errors.contains("from here on nothing is verified"))
        #expect(try tool(["audit", "summary", "--audit", daemon.audit, "--policy", folder["policy"]]).status == 74)
        #expect(try tool(["audit", "show", "--audit", folder["none"]]).status == 74)
    }

    /// A log that an attacker wrote can contain anything. No byte of it may move the cursor or forge a line.
    @Test func nothingInALogReachesTheTerminal() throws {
        try folder.write(
            "evil",
            "{\"seq\":1,\"time\":\"\\u001b[2J\\r\\n\",\"event\":\"request\",\"decision\":\"denied\",\"key\":\"\\u009b1A\","
                + "\"uid\":0,\"detail\":\"\\u202e\\u0007\",\"chain\":\"\(String(repeating: "0", count: 64))\"}\n"
                + "{\"seq\":2,\"key\":\"\u{1B}[2J\",\"chain\":\"\(String(repeating: "0", count: 64))\"}\n\u{1B}]0;x\u{7}\n"
        )
        for format in ["text", "json"] {
            let (status, output, errors) = try tool(["audit", "show", "--audit", folder["evil"], "--format", format])
            #expect(status == 74)
            #expect((output + errors).utf8.allSatisfy { (0x20...0x7E).contains($0) || $0 == 0x0A })
            #expect(output.split(separator: "\n").count == (format == "text" ? 2 : 1))
        }
        let (_, output, errors) = try tool(["audit", "summary", "--audit", folder["evil"]])
        #expect((output + errors).utf8.allSatisfy { (0x20...0x7E).contains($0) || $0 == 0x0A })
    }

    @Test func aSummaryAnswersAnAccessReview() throws {
        let daemon = try log()
        let (status, output, errors) = try tool(
            ["audit", "summary", "--format", "json", "--audit", daemon.audit, "--policy", folder["policy"]])
        #expect(status == 0, "\(errors)")
        let objects = try output.split(separator: "\n").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
        func rows(_ kind: String) -> [[String: Any]] { objects.filter { $0["kind"] as? String == kind } }
        let use = try #require(rows("use").first { $0["user"] as? String == "61001" })
        #expect(use["key"] as? String == "k")
        #expect(use["granted"] as? Int == 3)
        #expect(use["last-grant"] != nil)
        #expect(rows("use").count == 2)
        #expect(rows("denial").compactMap { $0["reason"] as? String } == ["unknown-key", "no-rule"])
        #expect(rows("unused-key").compactMap { $0["key"] as? String } == ["idle"])
        #expect(rows("unused-permit").compactMap { $0["key"] as? String } == ["idle", "k"])
        #expect(rows("unused-permit").allSatisfy { ($0["line"] as? String)?.hasSuffix("policy:4") == true })

        let text = try tool(["audit", "summary", "--audit", daemon.audit, "--policy", folder["policy"]]).output
        #expect(text.contains("Keys that nobody got:"))
        #expect(text.hasPrefix("5 requests, records from 20"))
        let none = try tool(
            ["audit", "summary", "--audit", daemon.audit, "--policy", folder["policy"], "--until", "-1h"])
        #expect(none.output == "no records in that period\n")
    }

    @Test func aReplayListsWhatWouldChange() throws {
        let daemon = try log()
        try folder.write("new.policy", "key k \(folder["key"])\npermit 61002 key k\nkey nope \(folder["key"])\n")
        func replay(_ policy: String) throws -> [[String]] {
            let (status, output, errors) = try tool(
                ["policy", "replay", "--policy", folder[policy], "--audit", daemon.audit])
            #expect(status == 0, "\(errors)")
            return output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        }
        let changes = try replay("new.policy")
        #expect(changes[0] == ["change", "key", "user", "unit", "requests", "last", "line"])
        #expect(
            changes.dropFirst().map { [$0[0], $0[1], $0[2], $0[4]] } == [
                ["loses", "k", "61001", "3"], ["gains", "k", "61002", "1"],
            ])
        #expect(changes[1].last == "\(folder["policy"]):3")
        #expect(changes[2].last == "\(folder["new.policy"]):2")
        // With the policy in force nothing changes, so only the heading is printed.
        #expect(try replay("policy").count == 1)
        try folder.write("bad.policy", "nonsense\n")
        #expect(
            try tool(["policy", "replay", "--policy", folder["bad.policy"], "--audit", daemon.audit]).status == 78)
        #expect(try tool(["policy", "replay", "--audit", daemon.audit]).status == 64)
    }

    @Test func followingEndsWhereTheLogIsCutShort() throws {
        let daemon = try daemon()
        let follower = try Program(
            Program.built("keybroker"), ["audit", "show", "--follow", "--format", "json", "--audit", daemon.audit])
        let last = try #require(try daemon.records().last?["seq"] as? Int)
        try follower.wait(for: "record \(last)") { $0.contains("{\"seq\":\(last),") ? true : nil }
        try folder.shell(": > log/audit.jsonl")
        #expect(try follower.waitForExit() == 74)
        #expect(follower.text(.error).contains("was cut short while it was followed"), "\(follower.text(.error))")
    }

    /// Records are shown as they arrive, and also those of the next file after a rotation. None is missed.
    @Test func followingSurvivesRotation() throws {
        let daemon = try daemon()
        let follower = try Program(
            Program.built("keybroker"), ["audit", "show", "--follow", "--format", "json", "--audit", daemon.audit])
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        func numbers(_ text: some StringProtocol) -> [Int] {
            text.split(separator: "\n").compactMap {
                Int($0.dropFirst(#"{"seq":"#.count).prefix(while: \.isNumber))
            }
        }
        for round in 1...3 {
            for _ in 0..<5 { #expect(try peer.ask("1Gk").status == "K") }
            let last = try #require(try daemon.records().last?["seq"] as? Int)
            try follower.wait(for: "record \(last)", in: .output) { numbers($0).last == last ? true : nil }
            try folder.shell("mv log/audit.jsonl log/audit.jsonl.\(round)")
            // The daemon writes to the old file until it is told of the rotation.
            #expect(try peer.ask("1Gk").status == "K")
            _ = try daemon.reload()
        }
        #expect(try peer.ask("1Gk").status == "K")
        let last = try #require(try daemon.records().last?["seq"] as? Int)
        try follower.wait(for: "record \(last)", in: .output) { numbers($0).last == last ? true : nil }
        #expect(numbers(follower.text(.output)) == Array(1...last))
        #expect(follower.text(.error).isEmpty, "\(follower.text(.error))")
        follower.signal(SIGKILL)
        _ = try follower.waitForExit()
        try folder.shell("gzip log/audit.jsonl.1 log/audit.jsonl.2")
        let files = try FileManager.default.contentsOfDirectory(atPath: folder["log"])
        let verified = try tool(["audit", "verify"] + files.map { folder["log/\($0)"] })
        #expect(verified.status == 0, "\(verified.errors)")
        #expect(verified.output.hasPrefix("\(last) records, 1 to \(last), in 4 files\n"))
    }
}
