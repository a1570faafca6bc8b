// The tool's commands on a policy and on a log, as an admin types them.

import Foundation
import TestSupport
import Testing

/// Runs a command on a policy with one key, for a user and for a user in units.
func runOnSmallPolicy(
    _ arguments: [String], in folder: TemporaryFolder
) throws -> (status: Int32, output: String, errors: String) {
    try folder.write("key", "KEY", mode: 0o600)
    try folder.write("p", "key web \(folder["key"])\npermit 61001 key web\npermit 61002 unit w@*.service key web\n")
    return try Program.run(
        Program.built("keybroker"), ["policy"] + arguments + ["--policy", "p"], directory: folder.path)
}

/// The commands that need no daemon.
struct PolicyToolTests {
    private let folder = TemporaryFolder("tool")

    private func policy(_ arguments: [String]) throws -> (status: Int32, output: String, errors: String) {
        try runOnSmallPolicy(arguments, in: folder)
    }

    @Test func signatures() throws {
        let folder = TemporaryFolder("sign")
        try folder.write("key", "KEY", mode: 0o600)
        let line = "key web \(folder["key"])\n"
        try folder.write("old", line + "permit 61001 sign web\npermit 61002 key web\n")
        try folder.write("new", line + "permit 61001 sign web for tls-server\npermit 61002 key web\n")
        func policy(_ arguments: String...) throws -> (status: Int32, output: String) {
            let run = try Program.run(Program.built("keybroker"), ["policy"] + arguments, directory: folder.path)
            return (run.status, run.output)
        }
        let granted = try policy("explain", "--user", "61001", "--key", "web", "--sign", "--policy", "new")
        #expect(granted.status == 0)
        #expect(
            granted.output.hasPrefix(
                "permitted: 61001 may have web sign for tls-server\n  new:2: permit 61001 sign web for tls-server\n"))
        let key = try policy("explain", "--user", "61001", "--key", "web", "--policy", "new")
        #expect(key.status == 77)
        #expect(key.output.hasPrefix("denied: no line permits web to 61001\n  new:3: "))
        let both = granted.output
        #expect(
            key.output.hasSuffix(both) && both.contains("\n  channel now: signs with \(folder["key"]), 3 bytes, of "))
        try folder.write("both", line + "permit 61001 key web\npermit 61001 sign web\n")
        let rights = try policy("explain", "--user", "61001", "--key", "web", "--policy", "both")
        #expect(rights.status == 0)
        #expect(
            rights.output.contains("\n  key now: ") && rights.output.contains("\npermitted: 61001 may have web sign\n"))
        let objects = try policy(
            "explain", "--user", "61001", "--key", "web", "--policy", "both", "--format", "json"
        ).output.split(separator: "\n")
        #expect(objects.count == 2 && objects[1].hasSuffix(#""right":"sign"}"#), "\(objects)")
        let sign = try policy("explain", "--user", "61002", "--key", "web", "--sign", "--policy", "new")
        #expect(sign.status == 77)
        #expect(
            sign.output.hasPrefix(
                "denied: no line permits signatures of web to 61002\n"
                    + "  it may have the key itself, which does not include this\n  new:2: "))
        #expect(try policy("explain", "--user", "61002", "--sign", "--policy", "new").status == 64)
        let who = try policy("explain", "--key", "web", "--policy", "new").output
        #expect(who.contains("61001  any unit  new:2  sign for tls-server\n"), "\(who)")
        let shown = try policy("show", "--policy", "new").output
        #expect(shown.contains("new:2  sign for tls-server\n") && shown.contains("new:3  key\n"), "\(shown)")
        let difference = try policy("diff", "old", "new").output.split(separator: "\n")
        #expect(difference.count == 2 && difference[1].hasPrefix("loses"), "\(difference)")
        #expect(difference[1].hasSuffix("sign, but for tls-server"), "\(difference)")
        #expect(try policy("check", "new").output.hasPrefix("1 file, 1 key, 2 permissions, 0 warnings;"))
    }

    @Test func showOneOfThem() throws {
        func rows(_ arguments: String...) throws -> [String] {
            let result = try policy(["show"] + arguments)
            #expect(result.status == 0, "\(result.errors)")
            return result.output.split(separator: "\n").dropFirst().map { String($0.split(separator: " ")[2]) }
        }
        #expect(try rows("--user", "61001") == ["61001"])
        #expect(try rows("--unit", "w@1.service") == ["61002"])
        #expect(try rows("--key", "web") == ["61001", "61002"])
        #expect(try rows("--key", "other") == [])
        #expect(try policy(["show", "--key", "other"]).errors == "keybroker: there is no key 'other'\n")
        #expect(
            try policy(["show", "--key", "wbe"]).errors == "keybroker: there is no key 'wbe'; did you mean 'web'?\n")
        #expect(try rows("--user", "61002", "--unit", "x.service", "--key", "web") == [])
        #expect(try policy(["show", "--user", "no-such-user"]).status == 64)
        #expect(try policy(["show", "--key", "NO"]).status == 64)
    }

    /// Another file is another key, though nobody gains or loses one.
    @Test func diffListsOtherFiles() throws {
        try folder.write("old", "key a /a\nkey b /b\npermit 61001 key a b\n")
        try folder.write("new", "key a /a2 certificate /c\nkey b /b\npermit 61001 key b\nlimit 61001 requests 5\n")
        func diff(_ arguments: String...) throws -> String {
            let result = try Program.run(
                Program.built("keybroker"), ["policy", "diff"] + arguments, directory: folder.path)
            #expect(result.status == 0 && result.errors.isEmpty, "\(result.errors)")
            return result.output
        }
        #expect(
            try diff("old", "new") == """
                change  key  who    unit  line
                loses   a    61001  -     old:3
                key a has other files: /a2 and /c, before /a

                """)
        #expect(
            try diff("new", "old", "--format", "json") == """
                {"change":"gains","key":"a","who":"61001","line":"old:3"}
                {"change":"files","key":"a","file":"/a","old-file":"/a2","old-certificate":"/c","line":"old:1"}

                """)
        #expect(try diff("old", "old") == "change  key  who  unit  line\n")
    }

    /// What permits nobody is not listed as a permission.
    @Test func linesAboutNobodyAreWarnedOf() throws {
        try folder.write("key", "KEY", mode: 0o600)
        try folder.write("o", "key web \(folder["key"])\npermit :65534 key web\npermit 65534 status\n")
        func run(_ command: String, _ more: String...) throws -> (status: Int32, output: String, errors: String) {
            try Program.run(Program.built("keybroker"), ["policy", command] + more, directory: folder.path)
        }
        let check = try run("check", "--strict", "o")
        #expect(check.status == 78)
        #expect(check.errors.contains("o:2:8: warning: this line never matches: gid 65534 "), "\(check.errors)")
        #expect(
            try run("explain", "--key", "web", "--policy", "o").output
                == "denied: nobody may have web: no line permits it\n")
        let shown = try run("show", "--policy", "o").output.split(separator: "\n")
        #expect(shown.count == 2 && shown[1].hasSuffix("  -          -     o:1"), "\(shown)")
        let denied = try run("explain", "--user", "61001", "--key", "web", "--policy", "o")
        #expect(
            denied.output.hasPrefix(
                "denied: no line permits web to 61001\n  o:2: permit :65534 key web\n      about nobody: "))
    }

    @Test func show() throws {
        let table = try policy(["show"]).output
        #expect(
            table.split(separator: "\n").map { $0.split(separator: " ").joined(separator: " ") } == [
                "key file permitted unit line", "web \(folder["key"]) 61001 - p:2",
                "web \(folder["key"]) 61002 w@*.service p:3",
            ])
        for line in try policy(["show", "--format", "json"]).output.split(separator: "\n") {
            #expect(try JSONSerialization.jsonObject(with: Data(line.utf8)) is [String: String])
        }
    }

    /// A file of another name is easily taken for a part of the policy.
    @Test func filesThatAreNotReadAreWarnedOf() throws {
        try folder.directory("d")
        try folder.write("d/a.policy", "permit 61003 key web\n")
        for name in ["x.conf", "b.policy~", ".c.policy.edit", "README"] { try folder.write("d/\(name)", "nonsense\n") }
        let (status, _, errors) = try policy(["check", "d"])
        #expect(status == 0)
        #expect(
            errors == """
                d/README: warning: not read: its name does not end in .policy
                d/x.conf: warning: not read: its name does not end in .policy

                """, "\(errors)")
        #expect(try policy(["check", "--strict", "d"]).status == 78)
    }

    /// Whose file it is, and what to type.
    @Test(.enabled(if: isRoot, "needs root: it gives files away"))
    func filesOfOthersAreExplained() throws {
        try folder.write("key", "KEY", mode: 0o600, owner: 1)
        try folder.write("c", "key web \(folder["key"])\npermit 61001 key web\n")
        func said(_ arguments: String...) throws -> String {
            let result = try Program.run(Program.built("keybroker"), ["policy"] + arguments, directory: folder.path)
            return result.output + result.errors
        }
        let theirs = "\(folder["key"]) belongs to daemon(1), not to root; type: chown root: \(folder["key"])\n"
        #expect(try said("check", "c").contains("the file would not be handed out: \(theirs)"))
        let explained = try said("explain", "--user", "61001", "--key", "web", "--policy", "c")
        #expect(explained.contains("nothing would be handed out: \(theirs)"), "\(explained)")
        try folder.shell("chown 0:1 key && chmod 660 key")
        let writable = "can be written to by group daemon(1) (mode 0660); type: chmod g-w \(folder["key"])\n"
        #expect(try said("check", "c").contains(writable))
        try folder.shell("chown 61077 c")
        #expect(try said("check", "c").contains("c belongs to uid 61077, not to root; type: chown root: "))
    }

    /// A slip in a command's name is no riddle.
    @Test(arguments: [
        (["polcy", "check"], "there is no command 'polcy'; did you mean 'policy'?"),
        (["policy", "chek"], "there is no command 'chek'; did you mean 'check'?"),
        (["audit", "shwo"], "there is no command 'shwo'; did you mean 'show'?"),
        (["staus"], "there is no command 'staus'; did you mean 'status'?"),
    ])
    func misspeltCommands(_ arguments: [String], _ words: String) throws {
        let result = try Program.run(Program.built("keybroker"), arguments)
        #expect(result.status == 64)
        #expect(result.errors == "keybroker: \(words)\n", "\(result.errors)")
    }

    @Test func test() throws {
        try folder.write("good", "expect 61001 key web granted\nexpect 61009 key web denied\n")
        #expect(try policy(["test", "good"]).output == "2 expectations met\n")
        try folder.write("bad", "expect 61001 key web denied\n")
        let bad = try policy(["test", "bad"])
        #expect(bad.status == 1)
        #expect(bad.errors.hasPrefix("bad:1:22: error: granted by p:2\n"))
        try folder.write("slips", "expect unit:w@1 key web denied\nexpect 61001 key wbe denied\n")
        let slips = try policy(["test", "slips"])
        #expect(slips.status == 1)
        #expect(slips.errors.contains("slips:1:25: error: no unit has the name 'w@1': "), "\(slips.errors)")
        #expect(slips.errors.contains("slips:2:22: error: there is no key 'wbe'; did you mean 'web'?\n"))
        try folder.write("faulty", "expect\n")
        #expect(try policy(["test", "faulty"]).status == 64)
        #expect(try policy(["test", "missing"]).status == 64)
    }
}

/// The auditor's commands, on the log of a real daemon.
struct AuditToolTests {
    private let folder = TemporaryFolder("audittool")

    @Test func verify() throws {
        let daemon = try Daemon(folder, policy: "")
        for _ in 0..<3 { _ = try Program.run(Program.built("keybroker"), ["list", "--socket", daemon.socket]) }
        try daemon.stop()
        func verify(_ more: [String] = []) throws -> (status: Int32, output: String, errors: String) {
            try Program.run(Program.built("keybroker"), ["audit", "verify", daemon.audit] + more)
        }
        let head = try #require(try daemon.records().last?["chain"] as? String)
        let middle = try #require(try daemon.records()[2]["chain"] as? String)
        #expect(try verify().output == "5 records, 1 to 5, in 1 file\nhead \(head)\n")
        #expect(
            try verify(["--expect", middle]).output.contains("the expected head is in it, with 2 records after it"))
        #expect(try verify(["--expect", String(head.reversed())]).status == 74)
        try folder.write(
            "log/audit.jsonl",
            try folder.text("log/audit.jsonl").replacing("\"list\"", with: "\"get\"", maxReplacements: 1))
        let changed = try verify()
        #expect(changed.status == 74)
        #expect(changed.errors.contains("audit.jsonl:2: record 2 was changed"))
        #expect(try Program.run(Program.built("keybroker"), ["audit", "verify", folder["none"]]).status == 74)
    }
}
