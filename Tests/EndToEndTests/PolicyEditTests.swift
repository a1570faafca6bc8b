// `keybroker policy edit`: a faulty policy is never put in place, and nothing that was written is lost.

import Foundation
import TestSupport
import Testing

struct PolicyEditTests {
    private let folder = TemporaryFolder("edit")
    private let begin = "key web /etc/hostname\npermit 61001 key web\n"

    private func write() throws { try folder.write("policy", begin) }

    /// Makes an editor of a shell script, in which "$1" is the copy.
    private func editor(_ script: String) throws -> String {
        try folder.write("editor", "#!/bin/sh\n\(script)\n", mode: 0o755)
        return folder["editor"]
    }

    private func arguments(_ more: [String]) -> [String] {
        ["policy", "edit", "--policy", folder["policy"]] + more
    }

    private func edit(
        _ script: String, _ more: [String] = ["--no-reload"]
    ) throws -> (status: Int32, output: String, errors: String) {
        try Program.run(
            Program.built("keybroker"), arguments(more), environment: ["EDITOR": try editor(script)])
    }

    /// The same on a terminal, where each question gets the next of the answers.
    private func editOnTerminal(_ script: String, _ answers: [String]) throws -> (status: Int32, output: String) {
        let command = ([Program.built("keybroker")] + arguments(["--no-reload"])).joined(separator: " ")
        let program = try Program(
            installed("script") ?? "script", ["-qec", command, "/dev/null"],
            environment: ["EDITOR": try editor(script), "TERM": "dumb"])
        for (index, answer) in answers.enumerated() {
            try program.wait(for: "question \(index + 1)") { text in
                text.components(separatedBy: "?\r\n").count > index + 1 ? true : nil
            }
            try program.send(answer)
        }
        let status = try program.waitForExit()
        return (status, program.text())
    }

    private var kept: String { ".policy.edit" }

    private func isThere(_ name: String) -> Bool { FileManager.default.fileExists(atPath: folder[name]) }

    @Test func aGoodChangeIsShownAndPutInPlace() throws {
        try write()
        let (status, output, errors) = try edit("sed -i s/61001/61002/ \"$1\"")
        #expect(status == 0, "\(errors)")
        let rows = output.split(separator: "\n").map { $0.split(separator: " ").prefix(3).joined(separator: " ") }
        #expect(rows == ["change key who", "loses web 61001", "gains web 61002", "\(folder["policy"]) is in"])
        #expect(try folder.text("policy") == begin.replacing("61001", with: "61002"))
        #expect(!isThere(kept))
    }

    /// The copy is for its owner alone, and no program takes it for a policy.
    @Test func theCopyIsNobodyElses() throws {
        try write()
        try folder.setAttributes("policy", mode: 0o640)
        #expect(try edit("stat -c '%a %n' \"$1\" >\(folder["seen"]); echo '# x' >>\"$1\"").status == 0)
        #expect(try folder.text("seen") == "600 \(folder[kept])\n")
        // The mode is that of the file that it replaced.
        let mode = try FileManager.default.attributesOfItem(atPath: folder["policy"])[.posixPermissions] as? Int
        #expect(mode == 0o640)
    }

    @Test(.enabled(if: isRoot, "needs root: it gives a file to another group"))
    func theOwnerIsKept() throws {
        try write()
        try folder.shell("chown 0:61005 policy && chmod 0640 policy")
        #expect(try edit("echo '# x' >>\"$1\"").status == 0)
        let attributes = try FileManager.default.attributesOfItem(atPath: folder["policy"])
        #expect(attributes[.groupOwnerAccountID] as? Int == 61005)
        #expect(attributes[.posixPermissions] as? Int == 0o640)
    }

    @Test func aFaultyChangeIsNeverPutInPlace() throws {
        try write()
        let (status, _, errors) = try edit("echo permit >>\"$1\"; echo key x >>\"$1\"")
        #expect(status == 78)
        // All faults are told, at their places in the file that they would be in.
        #expect(errors.contains("\(folder["policy"]):3:7: error: "), "\(errors)")
        #expect(errors.contains("\(folder["policy"]):4:6: error: "))
        #expect(errors.contains("2 errors; not put in place"))
        #expect(try folder.text("policy") == begin)
        #expect(try folder.text(kept) == begin + "permit\nkey x\n")
        // Without a terminal nobody can say what to do with it.
        let again = try edit("true")
        #expect(again.status == 75)
        #expect(again.errors.contains(folder[kept]))
    }

    @Test func nothingIsDoneIfNothingWasWritten() throws {
        try write()
        let (status, output, _) = try edit("touch \"$1\"")
        #expect(status == 0)
        #expect(output == "\(folder["policy"]) is unchanged\n")
        #expect(!isThere(kept))
        let failed = try edit("exit 3")
        #expect(failed.status == 71)
        #expect(failed.errors.contains("ended with status 3"))
        #expect(!isThere(kept))
        // What an editor wrote before it failed is kept.
        #expect(try edit("echo '# x' >>\"$1\"; exit 1").status == 71)
        #expect(try folder.text(kept) == begin + "# x\n")
        #expect(try folder.text("policy") == begin)
    }

    @Test func faultyOnesAreEditedAgainKeptOrDropped() throws {
        try write()
        let fault =
            "grep -q mended \"$1\" || { grep -q '^bad' \"$1\" && sed -i 's/^bad/# mended/' \"$1\" || echo bad >>\"$1\"; }"
        let again = try editOnTerminal(fault, ["e", "y"])
        #expect(again.status == 0, "\(again.output)")
        #expect(try folder.text("policy") == begin + "# mended\n")
        try write()
        #expect(try editOnTerminal("echo bad >>\"$1\"", ["d"]).status == 0)
        #expect(!isThere(kept))
        let keeping = try editOnTerminal("echo bad >>\"$1\"", ["what", "k"])
        // As without a terminal: it is not in place, because it is faulty.
        #expect(keeping.status == 78)
        #expect(keeping.output.contains("kept in \(folder[kept])"))
        #expect(try folder.text(kept) == begin + "bad\n")
        // The next edit goes on with what was kept.
        let mended = try editOnTerminal("sed -i 's/^bad/# good/' \"$1\"", ["e", "y"])
        #expect(mended.status == 0, "\(mended.output)")
        #expect(try folder.text("policy") == begin + "# good\n")
        #expect(!isThere(kept))
    }

    @Test func aGoodOneMayBeDroppedToo() throws {
        try write()
        let dropped = try editOnTerminal("sed -i s/61001/61002/ \"$1\"", ["d"])
        #expect(dropped.status == 0 && dropped.output.contains("gains"))
        #expect(try folder.text("policy") == begin)
        #expect(!isThere(kept))
    }

    /// A killed edit, as if the connection to the machine broke: the policy is as it was, and what was saved in the
    /// editor is there at the next edit.
    @Test func nothingIsLostIfItIsInterrupted() throws {
        try write()
        let waits = "echo '# half' >>\"$1\"; echo $$ >\(folder["pid"]); echo begun >&2; read -r line <\(folder["fifo"])"
        try folder.shell("mkfifo fifo")
        let first = try Program(
            Program.built("keybroker"), arguments(["--no-reload"]), environment: ["EDITOR": try editor(waits)])
        try first.wait(for: "the editor", in: .error) { $0.contains("begun") ? true : nil }
        // Meanwhile nobody else can edit.
        let second = try Program.run(
            Program.built("keybroker"), arguments(["--no-reload"]), environment: ["EDITOR": "true"])
        #expect(second.status == 75)
        #expect(second.errors.contains("somebody else edits this policy now"))
        first.signal(SIGKILL)
        try folder.shell("kill -9 $(cat pid)")
        _ = try first.waitForExit()
        #expect(try folder.text("policy") == begin)
        // A new file that was not put in place any more is no obstacle.
        try folder.write(".policy.new", "garbage")
        let next = try editOnTerminal("echo '# whole' >>\"$1\"", ["e", "y"])
        #expect(next.status == 0, "\(next.output)")
        #expect(try folder.text("policy") == begin + "# half\n# whole\n")
        #expect(!isThere(".policy.new"))
    }

    @Test func whatSomebodyElseWroteIsNotOverwritten() throws {
        try write()
        let (status, _, errors) = try edit("echo '# mine' >>\"$1\"; echo '# theirs' >>\(folder["policy"])")
        #expect(status == 75)
        #expect(errors.contains("was changed by somebody else meanwhile"))
        #expect(try folder.text("policy") == begin + "# theirs\n")
        #expect(try folder.text(kept) == begin + "# mine\n")
    }

    /// A file in a directory is checked together with the others, and a new one can be made.
    @Test func filesOfADirectoryAreOnePolicy() throws {
        try folder.directory("policy")
        try folder.write("policy/10.policy", "key web /etc/hostname\n")
        try folder.write("policy/20.policy", "permit 61001 key web\n")
        let one = try edit("echo >\"$1\"", ["--no-reload", "10.policy"])
        #expect(one.status == 78)
        #expect(one.errors.contains("20.policy:1:18: error: no key 'web' is declared"), "\(one.errors)")
        try folder.remove("policy/.10.policy.edit")
        let new = try edit("echo permit 61002 key web >\"$1\"", ["--no-reload", folder["policy/15.policy"]])
        #expect(new.status == 0, "\(new.errors)")
        #expect(try folder.text("policy/15.policy") == "permit 61002 key web\n")
        #expect(try edit("true", ["--no-reload", folder["policy/./15.policy"]]).status == 0)
        #expect(try edit("true", ["--no-reload"]).status == 64)
        for other in ["nothing", "../x.policy", folder["x.policy"], ".hidden.policy"] {
            #expect(try edit("true", ["--no-reload", other]).status == 64, "\(other)")
        }
    }

    @Test func onlyAPlainFileIsEdited() throws {
        try folder.write("real", begin)
        try folder.link("policy", to: folder["real"])
        #expect(try edit("echo '# x' >>\"$1\"").status == 71)
        #expect(try folder.text("real") == begin)
        try folder.remove("policy")
        try folder.shell("mkfifo policy")
        #expect(try edit("true").status == 71)
    }

    /// In a directory that others can write to, somebody could exchange the copy.
    @Test func aDirectoryOfOthersIsRefused() throws {
        try write()
        for mode in ["0777", "1777", "0775"] {
            try folder.shell("chmod \(mode) .")
            let (status, _, errors) = try edit("echo '# x' >>\"$1\"")
            #expect(status == 77, "\(mode)")
            #expect(errors.contains("can be written to by"), "\(errors)")
            #expect(!isThere(kept))
            #expect(!isThere(".edit.lock"))
        }
    }

    /// Who may not change the policy can neither edit it nor keep its owner from doing so.
    @Test(.enabled(if: isRoot, "needs root: it becomes another account"), .enabled(if: installed("setpriv") != nil))
    func anotherAccountCannotEditOrHoldTheLock() throws {
        try write()
        #expect(try edit("echo '# x' >>\"$1\"").status == 0)
        let other = ["--reuid", "61009", "--regid", "61009", "--clear-groups"]
        let denied = try Program.run(
            installed("setpriv") ?? "setpriv", other + [Program.built("keybroker")] + arguments(["--no-reload"]),
            environment: ["EDITOR": "true"])
        #expect(denied.status == 77, "\(denied.errors)")
        let lock = try Program.run(
            installed("setpriv") ?? "setpriv", other + ["/bin/sh", "-c", ": <\(folder[".edit.lock"])"])
        #expect(lock.status != 0)
    }

    @Test func itIsInForceAfterwards() throws {
        try folder.write("key", "KEY", mode: 0o600)
        let daemon = try Daemon(folder, policy: "key web \(folder["key"])\npermit 61001 key web\n")
        let (status, output, errors) = try edit("echo 'permit 61002 key web' >>\"$1\"", ["--socket", daemon.socket])
        #expect(status == 0, "\(errors)")
        #expect(output.contains("in force: 1 key, 2 permissions"))
        try daemon.stop()
        let away = try edit("echo '# x' >>\"$1\"", ["--socket", daemon.socket])
        #expect(away.status == 69)
        #expect(away.errors.contains("is in place, but not in force"))
    }
}
