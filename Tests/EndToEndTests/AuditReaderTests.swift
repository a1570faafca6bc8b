// What all commands on the log have in common: who may read it, whom it knows, what in it reaches a terminal, and how it
// is followed.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: it becomes other accounts"))
struct AuditReaderTests {
    private let desk = Desk("readers")
    private var folder: TemporaryFolder { desk.folder }

    /// Whoever may not read the log is told who may, and what to type.
    @Test(arguments: [["show"], ["summary"], ["verify"]]) func aForbiddenLogNamesItsReaders(_ command: [String]) throws
    {
        let daemon = try desk.log()
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

    /// A user that nobody has is a mistake, and no empty answer; but the log may know a user that the machine does not.
    @Test func aUserThatNobodyHasIsAnError() throws {
        let daemon = try desk.log()
        for command in ["show", "summary"] {
            let none = try desk.tool(
                ["audit", command, "--user", "no-such-user", "--audit", daemon.audit])
            #expect(none.status == 64)
            #expect(none.errors.contains("--user: there is no user 'no-such-user' on this machine"), "\(none.errors)")
        }
        try folder.write(
            "old", try folder.text("log/audit.jsonl").replacing(#""uid":61001"#, with: #""uid":61001,"user":"removed""#)
        )
        let old = try desk.tool(["audit", "show", "--user", "removed", "--format", "json", "--audit", folder["old"]])
        #expect(old.output.split(separator: "\n").count == 4)
        #expect(!old.errors.contains("there is no user"))
        // The name is in the log, though in none of the records that are wanted.
        let later = try desk.tool(["audit", "show", "--user", "removed", "--since", "now", "--audit", folder["old"]])
        #expect(!later.errors.contains("there is no user"))
        #expect(try desk.tool(["audit", "show", "--user", "4000000000", "--audit", daemon.audit]).status == 0)
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
            let (status, output, errors) = try desk.tool([
                "audit", "show", "--audit", folder["evil"], "--format", format,
            ])
            #expect(status == 74)
            #expect((output + errors).utf8.allSatisfy { (0x20...0x7E).contains($0) || $0 == 0x0A })
            #expect(output.split(separator: "\n").count == (format == "text" ? 2 : 1))
        }
        let (_, output, errors) = try desk.tool(["audit", "summary", "--audit", folder["evil"]])
        #expect((output + errors).utf8.allSatisfy { (0x20...0x7E).contains($0) || $0 == 0x0A })
    }

    @Test func followingEndsWhereTheLogIsCutShort() throws {
        let daemon = try desk.daemon()
        let follower = try Program(
            Program.built("keybroker"), ["audit", "show", "--follow", "--format", "json", "--audit", daemon.audit])
        let last = try #require(try daemon.records().last?["seq"] as? Int)
        try follower.wait(for: "record \(last)") { $0.contains("{\"seq\":\(last),") ? true : nil }
        try folder.shell(": > log/audit.jsonl")
        #expect(try follower.waitForExit() == 74)
        #expect(follower.text(.error).contains("was cut short while it was followed"), "\(follower.text(.error))")
    }

    /// A log that was rotated a moment ago has no record yet.
    @Test func followingBeginsWithAnEmptyLog() throws {
        let daemon = try desk.daemon()
        let log = try String(contentsOfFile: daemon.audit, encoding: .utf8)
        try folder.directory("empty")
        try folder.write("empty/log", "")
        let follower = try Program(
            Program.built("keybroker"),
            ["audit", "show", "--follow", "--format", "json", "--audit", folder["empty/log"]])
        try waitUntil("it watches") { try OtherProcess.openFiles(of: follower.pid).contains("anon_inode:inotify") }
        try folder.shell("cat log/audit.jsonl >> empty/log")
        try follower.wait(for: "all records") { $0 == log ? true : nil }
    }

    @Test func followingEndsWithThePeriod() throws {
        let daemon = try desk.daemon()
        let end = Date(timeIntervalSinceNow: 2)
        let follower = try Program(
            Program.built("keybroker"),
            [
                "audit", "show", "--follow", "--until", end.ISO8601Format(), "--format", "json", "--audit",
                daemon.audit,
            ])
        #expect(try follower.waitForExit() == 0)
        #expect(Date() >= end.addingTimeInterval(-1))
        #expect(follower.text().hasPrefix("{\"seq\":1,"))
        #expect(try desk.tool(["audit", "show", "--follow", "--until", "yesterday", "--audit", daemon.audit]).0 == 0)
    }

    /// Records are shown as they arrive, and also those of the next file after a rotation. None is missed.
    @Test func followingSurvivesRotation() throws {
        let daemon = try desk.daemon()
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
        let verified = try desk.tool(["audit", "verify"] + files.map { folder["log/\($0)"] })
        #expect(verified.status == 0, "\(verified.errors)")
        #expect(verified.output.hasPrefix("\(last) records, 1 to \(last), in 4 files\n"))
    }
}
