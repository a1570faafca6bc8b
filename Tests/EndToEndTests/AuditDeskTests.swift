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

    /// Whoever may not read the log is told who may, and what to type.
    @Test(arguments: [["show"], ["summary"], ["verify"]]) func aForbiddenLogNamesItsReaders(_ command: [String]) throws
    {
        let daemon = try log()
        try folder.setAttributes("log", mode: 0o750)
        try folder.shell("chgrp 0 log log/audit.jsonl")
        func refused() throws -> String {
            let (status, output, errors) = try Program.run(
                installed("setpriv") ?? "setpriv",
                [
                    "--reuid", "61002", "--regid", "61002", "--clear-groups", Program.built("keybroker"), "audit",
                ] + command + ["--audit", daemon.audit])
            #expect(status == 74)
            #expect(output.isEmpty)
            return errors
        }
        let text = "the group root may read it: usermod -aG root ACCOUNT, which counts from the next login; or use sudo"
        #expect(try refused().contains("(EACCES); \(text)"))
        try folder.setAttributes("log", mode: 0o755)
        #expect(try refused().contains(text))
        try folder.setAttributes("log", mode: 0o700)
        #expect(try refused().contains("only its owner and root may read it: use sudo"))
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

    private func forged(_ units: [String]) throws -> String {
        let lines = units.enumerated().map { index, unit in
            #"{"seq":\#(index + 1),"time":"2026-11-24T00:00:00.000000Z","event":"request","verb":"get","decision":"granted","#
                + #""reason":"permitted","key":"k","uid":5,"gid":5,"groups":[],"unit":"\#(unit)","chain":"x"}"#
        }
        try folder.write("forged", lines.map { $0 + "\n" }.joined())
        return folder["forged"]
    }

    /// A unit may have a name of 255 bytes, in the last record as well as in the first.
    @Test func columnsStayAlignedWithLongUnits() throws {
        let long = String(repeating: "u", count: 247) + ".service"
        let log = try forged(["a.service", "a-unit-with-a-long-name.service", "b.service", long, "c.service"])
        let lines = try tool(["audit", "show", "--audit", log]).output.split(separator: "\n").map(String.init)
        #expect(lines.count == 6)
        let why = try #require(lines.first?.range(of: "why")?.lowerBound)
        let offset = lines[0].distance(from: lines[0].startIndex, to: why)
        for line in lines.dropFirst() {
            #expect(line.dropFirst(offset).hasPrefix("permitted"), "\(line)")
            #expect(line.dropFirst(offset - 2).hasPrefix("  "), "\(line)")
        }
        // Very many records are aligned in parts, and a part with wider columns has a heading of its own.
        let many = try forged(Array(repeating: "a.service", count: 5000) + [long])
        let all = try tool(["audit", "show", "--audit", many]).output.split(separator: "\n").map(String.init)
        #expect(all.count == 5003)
        #expect(all.indices.filter { all[$0].hasPrefix("seq ") } == [0, 4097])
    }

    @Test func theLastRecords() throws {
        let daemon = try log()
        func numbers(_ arguments: String...) throws -> [Int] {
            let result = try tool(["audit", "show", "--format", "json", "--audit", daemon.audit] + arguments)
            #expect(result.status == 0, "\(result.errors)")
            return result.output.split(separator: "\n").compactMap { Int($0.dropFirst(7).prefix(while: \.isNumber)) }
        }
        #expect(try numbers("-n", "2") == [5, 6])
        #expect(try numbers("--lines", "2", "--key", "k") == [4, 6])
        #expect(try numbers("-n2", "--user", "61001") == [4, 5])
        #expect(try numbers("-n", "0") == [])
        #expect(try numbers("-n", "99") == [1, 2, 3, 4, 5, 6])
        #expect(try numbers("-n", "all") == [1, 2, 3, 4, 5, 6])
        #expect(try tool(["audit", "show", "-n", "few", "--audit", daemon.audit]).status == 64)
        let follower = try Program(
            Program.built("keybroker"),
            ["audit", "show", "--follow", "-n", "1", "--format", "json", "--audit", daemon.audit])
        _ = try follower.wait(forLines: 1)
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gk").status == "D")
        let lines = try follower.wait(forLines: 2)
        #expect(lines.map { Int($0.dropFirst(7).prefix(while: \.isNumber)) } == [6, 7])
        follower.signal(SIGKILL)
        _ = try follower.waitForExit()
    }

    /// A user that nobody has is a mistake, and no empty answer; but the log may know a user that the machine does not.
    @Test func aUserThatNobodyHasIsAnError() throws {
        let daemon = try log()
        for command in ["show", "summary"] {
            let none = try tool(
                ["audit", command, "--user", "no-such-user", "--audit", daemon.audit])
            #expect(none.status == 64)
            #expect(none.errors.contains("--user: there is no user 'no-such-user' on this machine"), "\(none.errors)")
        }
        try folder.write(
            "old", try folder.text("log/audit.jsonl").replacing(#""uid":61001"#, with: #""uid":61001,"user":"removed""#)
        )
        let old = try tool(["audit", "show", "--user", "removed", "--format", "json", "--audit", folder["old"]])
        #expect(old.output.split(separator: "\n").count == 4)
        #expect(!old.errors.contains("there is no user"))
        // The name is in the log, though in none of the records that are wanted.
        let later = try tool(["audit", "show", "--user", "removed", "--since", "now", "--audit", folder["old"]])
        #expect(!later.errors.contains("there is no user"))
        #expect(try tool(["audit", "show", "--user", "4000000000", "--audit", daemon.audit]).status == 0)
    }

    @Test func aSummaryOfAKeyOrAUserOrAUnit() throws {
        let daemon = try log()
        func objects(_ arguments: String...) throws -> [[String: Any]] {
            let result = try tool(
                ["audit", "summary", "--format", "json", "--audit", daemon.audit, "--policy", folder["policy"]]
                    + arguments)
            #expect(result.status == 0, "\(result.errors)")
            return try result.output.split(separator: "\n").compactMap {
                try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
            }
        }
        func kinds(_ objects: [[String: Any]]) -> [String] {
            objects.map { "\($0["kind"] ?? "") \($0["user"] ?? $0["permitted"] ?? "") \($0["key"] ?? "")" }
        }
        #expect(try kinds(objects("--user", "61002")) == ["use 61002 k", "denial 61002 k"])
        #expect(
            try kinds(objects("--key", "k")) == [
                "use 61001 k", "use 61002 k", "denial 61002 k", "unused-permit 61003 k",
            ])
        // What the user may have, and did not use.
        #expect(try kinds(objects("--user", "61003")) == ["unused-permit 61003 idle", "unused-permit 61003 k"])
        #expect(try kinds(objects("--unit", "x*.service")) == [])
        #expect(try kinds(objects("--key", "idle")) == ["unused-key  idle", "unused-permit 61003 idle"])
    }

    /// On a terminal long output goes through a pager, as with journalctl.
    @Test(.enabled(if: installed("script") != nil, "needs script"))
    func aPagerShowsItOnATerminal() throws {
        let daemon = try log()
        try folder.write("pager", "#!/bin/sh\nsed 's/^/PAGED /'\necho \"LESS is $LESS\"\n", mode: 0o755)
        func shown(_ environment: [String: String], _ more: String = "") throws -> (status: Int32, output: String) {
            let command = "\(Program.built("keybroker")) audit show --audit \(daemon.audit) \(more)"
            let result = try Program.run(
                installed("script") ?? "script", ["-qec", command, "/dev/null"],
                environment: ["TERM": "xterm", "PATH": "/usr/bin:/bin"].merging(environment) { $1 })
            return (result.status, result.output)
        }
        let pager = folder["pager"]
        let paged = try shown(["KEYBROKER_PAGER": pager, "PAGER": "false"])
        #expect(paged.status == 0)
        #expect(paged.output.contains("PAGED seq "))
        #expect(paged.output.contains("PAGED 6 "))
        #expect(paged.output.contains("LESS is FRSXMK"))
        #expect(paged.output.contains("\u{1B}[32mgranted"))
        #expect(try shown(["PAGER": pager]).output.contains("PAGED seq "))
        #expect(try shown(["PAGER": pager, "LESS": "X"]).output.contains("LESS is X"))
        for none in [["KEYBROKER_PAGER": "", "PAGER": pager], ["KEYBROKER_PAGER": "cat"]] {
            #expect(try !shown(none).output.contains("PAGED"))
        }
        #expect(try !shown(["PAGER": pager], "--no-pager").output.contains("PAGED"))
        // A pager that ends early is no error, and one that is not there is.
        #expect(try shown(["PAGER": "head -n 1"]).status == 0)
        #expect(try shown(["PAGER": folder["none"]]).status == 71)
        // The status of a damaged log is not lost, and what is said of it stands in the pager.
        try daemon.stop()
        try folder.shell("sed -i '3s/61001/61009/' log/audit.jsonl")
        let broken = try shown(["PAGER": pager])
        #expect(broken.status == 74)
        #expect(broken.output.contains("PAGED keybroker: "))
    }

    /// Under sudo the person's environment does not say what root runs, and the pager runs no shell.
    @Test(.enabled(if: installed("script") != nil && installed("less") != nil, "needs script and less"))
    func borrowedRightsGetAPagerThatRunsNothing() throws {
        let daemon = try log()
        try folder.write("pager", "#!/bin/sh\ntouch \(folder["ran"])\n", mode: 0o755)
        // On a terminal that is wide enough for all, less ends by itself.
        let command = "stty cols 300 rows 50; \(Program.built("keybroker")) audit show --audit \(daemon.audit)"
        let result = try Program.run(
            installed("script") ?? "script", ["-qec", command, "/dev/null"],
            environment: [
                "TERM": "xterm", "PATH": folder.path + ":/usr/bin:/bin", "SUDO_UID": "1000", "PAGER": folder["pager"],
                "KEYBROKER_PAGER": folder["pager"], "LESSOPEN": "|\(folder["pager"]) %s", "LESSEDIT": folder["pager"],
            ])
        #expect(result.status == 0)
        #expect(result.output.contains("granted"))
        #expect(!FileManager.default.fileExists(atPath: folder["ran"]))
    }

    /// Under the policy that is suggested nothing is lost, and the files of the keys are those of the policy, or those
    /// of the records.
    @Test func aPolicyIsSuggested() throws {
        let daemon = try log()
        func suggest(_ more: String...) throws -> (status: Int32, output: String, errors: String) {
            try tool(["policy", "suggest", "--audit", daemon.audit] + more)
        }
        let expected = ["key k \(folder["key"])", "permit 61001 key k"]
        for more in [[], ["--policy", folder["policy"]]] {
            let (status, output, errors) = try tool(["policy", "suggest", "--audit", daemon.audit] + more)
            #expect(status == 0, "\(errors)")
            let lines = output.split(separator: "\n").map(String.init)
            #expect(Array(lines.dropFirst()) == expected)
            #expect(lines[0].hasPrefix("# what was permitted in 5 requests, "))
            try folder.write("suggested", output)
            let replayed = try tool(["policy", "replay", "--policy", folder["suggested"], "--audit", daemon.audit])
            #expect(replayed.output.split(separator: "\n").count == 1)
        }
        // The policy in force is preferred, as its names stay when a link leads to another file.
        try folder.write("links", "key k /etc/by-name.pem certificate /etc/by-name.crt\npermit 1 key k\n")
        #expect(
            try suggest("--policy", folder["links"]).output.contains(
                "key k /etc/by-name.pem certificate /etc/by-name.crt\n"))
        #expect(try suggest("--since", "now").output == "# nothing was granted in that time\n")
        try folder.write("old", try folder.text("log/audit.jsonl").replacing(#""path":"/"#, with: #""path":""#))
        let unknown = try tool(["policy", "suggest", "--audit", folder["old"]])
        #expect(unknown.errors.contains("the file of key 'k' is in no policy and in no record"))
        #expect([74, 78].contains(unknown.status))
        #expect(try suggest("--policy", folder["none"]).status == 78)
    }

    /// Colour is used only on a terminal, and not if NO_COLOR forbids it.
    @Test func decisionsHaveAColourOnATerminal() throws {
        let daemon = try log()
        func shown(_ environment: [String: String]) throws -> String {
            let command = "\(Program.built("keybroker")) audit show --no-pager --audit \(daemon.audit)"
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
