// The life of the daemon: socket, start, reload, stop, and its account.

import Foundation
import TestSupport
import Testing

@Suite(.serialized) struct LifeTests {
    private let folder = TemporaryFolder("life")

    /// A policy that permits the account that runs the tests.
    private func policy() throws -> String {
        try folder.write("key", "KEY", mode: 0o600)
        return "key k \(folder["key"])\npermit \(geteuid()) key k\n"
    }

    private func keybroker(_ arguments: [String], _ daemon: Daemon) throws -> (
        status: Int32, output: String, errors: String
    ) {
        try Program.run(Program.built("keybroker"), arguments, environment: ["KEYBROKER_SOCKET": daemon.socket])
    }

    private func refused(_ arguments: [String], environment: [String: String] = [:]) throws -> (
        status: Int32, errors: String
    ) {
        let (status, _, errors) = try Program.run(Program.built("keybrokerd"), arguments, environment: environment)
        return (status, errors)
    }

    private var identity: [String] { isRoot ? ["--user", "61000", "--socket-group", "0"] : [] }

    @Test func aWholeLife() throws {
        let daemon = try Daemon(folder, policy: policy())
        #expect(try keybroker(["list"], daemon).output == "k\n")
        #expect(try keybroker(["list", "--format", "json"], daemon).output == "{\"key\":\"k\"}\n")
        #expect(try keybroker(["get", "k"], daemon).output == "KEY")
        let denied = try keybroker(["get", "other"], daemon)
        #expect(denied.status == 77)
        #expect(denied.errors.contains("key 'other': not permitted (decision "))
        #expect(try keybroker(["get", "Bad Name"], daemon).status == 64)
        #expect(try keybroker(["get", "--nonsense"], daemon).status == 64)
        #expect(try keybroker(["get", "k", "--certificate"], daemon).status == 69)
        try folder.remove("key")
        let gone = try keybroker(["get", "k"], daemon)
        #expect(gone.status == 75)
        #expect(gone.errors.contains("file-missing"))
        #expect(try daemon.stop() == 0)
        let records = try daemon.records()
        #expect(records.first?["event"] as? String == "start")
        #expect(records.last?["event"] as? String == "stop")
        #expect(try keybroker(["list"], daemon).status == 69)
        // A second start at the same place works as well.
        try daemon.restart()
        #expect(try daemon.stop() == 0)
    }

    @Test func aFaultyPolicyIsNotServedAndAReloadKeepsTheOldOne() throws {
        try folder.write("faulty", "key k relative\npermit nosuchuser key k\n")
        let start = try refused(
            ["--policy", folder["faulty"], "--socket", folder["x/s"], "--audit", folder["a/b"]] + identity)
        #expect(start.status == 78)
        #expect(start.errors.contains("\(folder["faulty"]):1:7: error: 'relative' is a relative path"))
        #expect(start.errors.contains("\(folder["faulty"]):2:8: warning: no such user: 'nosuchuser'"))

        let daemon = try Daemon(folder, policy: policy())
        let digest = try #require(try daemon.records().first?["policy"] as? String)
        try folder.write("policy", "key k relative\n")
        let said = try daemon.reload()
        #expect(said.contains("policy:1:7: error:") && said.contains("the old one stays in force"))
        #expect(try keybroker(["get", "k"], daemon).status == 0)
        let rejected = try #require(try daemon.records().first { $0["event"] as? String == "reload" })
        #expect(rejected["decision"] as? String == "rejected")
        #expect(rejected["policy"] as? String == digest)
        #expect((rejected["detail"] as? String)?.contains("'relative' is a relative path") == true)
        #expect(rejected["uid"] as? Int == Int(geteuid()))

        try folder.write("policy", "key k \(folder["key"])\n")
        #expect(try daemon.reload().contains("nobody may get key 'k'"))
        #expect(try keybroker(["get", "k"], daemon).status == 77)
        let applied = try daemon.records().filter { $0["event"] as? String == "reload" }.last
        #expect(applied?["decision"] as? String == "applied")
        #expect(applied?["policy"] as? String != digest)
        try daemon.stop()
    }

    @Test func policiesOfADirectoryAndOfSeveralFiles() throws {
        try folder.directory("d")
        try folder.write("key", "KEY", mode: 0o600)
        try folder.write("d/20-permits.policy", "permit \(geteuid()) key k\n")
        try folder.write("d/10-keys.policy", "key k \(folder["key"])\n")
        try folder.write("d/ignored.txt", "nonsense\n")
        let daemon = try Daemon(folder, policy: "", options: ["--policy", folder["d"]])
        let (status, output, _) = try keybroker(["get", "k"], daemon)
        #expect(status == 0)
        #expect(output == "KEY")
        #expect(try daemon.records().last?["rule"] as? String == "\(folder["d"])/20-permits.policy:1")
        try daemon.stop()
    }

    @Test func aPolicyThatOthersCanWriteIsRefused() throws {
        try folder.write("p", "", mode: 0o666)
        let start = try refused(
            ["--policy", folder["p"], "--socket", folder["x/s"], "--audit", folder["a/b"]] + identity)
        #expect(start.status == 78)
        #expect(start.errors.contains("can be written to by everybody (mode 0666)"))
        let check = try Program.run(Program.built("keybroker"), ["policy", "check", folder["p"]])
        #expect(check.status == 0)
        #expect(check.errors.contains("warning: keybrokerd would refuse this file"))
    }

    @Test func theCheckSaysWhatTheDaemonWould() throws {
        try folder.write("faulty", "permit nosuchuser key none\n")
        let check = try Program.run(Program.built("keybroker"), ["policy", "check", "faulty"], directory: folder.path)
        #expect(check.status == 78)
        #expect(
            check.errors == """
                faulty:1:8: warning: no such user: 'nosuchuser'; this line permits nobody
                permit nosuchuser key none
                       ^~~~~~~~~~
                faulty:1:23: error: no key 'none' is declared; a line 'key none PATH' is missing
                permit nosuchuser key none
                                      ^~~~
                keybroker: 1 error, 1 warning

                """)
        #expect(try Program.run(Program.built("keybroker"), ["policy", "check", "/nonexistent"]).status == 78)
    }

    /// A request that is on its way when the daemon is told to stop is still answered.
    @Test(.enabled(if: isRoot, "needs root: it counts the descriptors of a process that nobody else may look into"))
    func whoHadJustConnectedIsStillAnswered() throws {
        let daemon = try Daemon(folder, policy: policy())
        let peer = try PeerProcess(daemon.socket)
        let before = try daemon.openDescriptors()
        _ = try peer.step("connect 0")
        while try daemon.openDescriptors() == before { usleep(1000) }
        daemon.program.signal(SIGTERM)
        // Waits until the daemon has taken the signal, so that it is no longer pending.
        while try String(contentsOfFile: "/proc/\(daemon.pid)/status", encoding: .utf8)
            .contains(#/(Sig|Shd)Pnd:\t0*[1-9a-f]/#)
        { usleep(1000) }
        #expect(try peer.ask("1Gk").contents == ["KEY"])
        #expect(try daemon.stop() == 0)
        #expect(try daemon.records().suffix(2).map { $0["event"] as? String } == ["request", "stop"])
    }

    @Test func aLivingInstanceIsNeverDisplaced() throws {
        let daemon = try Daemon(folder, policy: policy())
        let second = try refused(
            ["--policy", folder["policy"], "--socket", daemon.socket, "--audit", folder["other/log"]] + identity)
        #expect(second.status == 75)
        #expect(second.errors.contains("another keybrokerd serves \(daemon.socket)"))
        // A second daemon cannot share the log either.
        let third = try refused(
            ["--policy", folder["policy"], "--socket", folder["run2/s"], "--audit", daemon.audit] + identity)
        #expect(third.status == 75)
        #expect(third.errors.contains("in use by another keybrokerd"))
        #expect(try keybroker(["get", "k"], daemon).status == 0)
        try daemon.stop()
    }

    @Test func onlyAStaleSocketIsRemoved() throws {
        let daemon = try Daemon(folder, policy: policy())
        try daemon.kill()
        #expect(FileManager.default.fileExists(atPath: daemon.socket))
        try daemon.restart()
        try daemon.stop()
        // A file at the socket's path that is not a socket is not removed.
        try? FileManager.default.removeItem(atPath: daemon.socket)
        try folder.write("run/broker.sock", "precious")
        let start = try refused(
            ["--policy", folder["policy"], "--socket", daemon.socket, "--audit", daemon.audit] + identity)
        #expect(start.status == 71)
        #expect(start.errors.contains("no socket of this daemon's"))
        #expect(try folder.text("run/broker.sock") == "precious")
        // A socket of another program that still listens is not removed either.
        try folder.remove("run/broker.sock")
        let python = installed("python3") ?? "python3"
        let other = try Program(
            python,
            [
                "-c",
                "import socket,sys; s=socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.bind(sys.argv[1]); "
                    + "s.listen(); print('listens', flush=True); sys.stdin.read()", daemon.socket,
            ])
        _ = try other.wait(forLines: 1)
        let beside = try refused(
            ["--policy", folder["policy"], "--socket", daemon.socket, "--audit", daemon.audit] + identity)
        #expect(beside.status == 75)
        #expect(beside.errors.contains("another program listens"))
        try other.waitForExit()
    }

    @Test func aDirectoryThatOthersWriteToIsNoPlaceForASocket() throws {
        try folder.directory("open", mode: 0o777)
        let start = try refused(
            ["--policy", folder["policy"], "--socket", folder["open/s"], "--audit", folder["a/b"]] + identity)
        #expect(start.status == 71)
        #expect(start.errors.contains("can be written to by everybody (mode 0777)"))
    }

    @Test func aSocketFromTheServiceManagerAndItsNotifications() throws {
        try folder.write("policy", policy())
        try folder.directory("run")
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/manager.py").path
        let manager = try Program(
            installed("python3") ?? "python3",
            [
                script, folder["run/broker.sock"], folder["run/notify"], Program.built("keybrokerd"), "--policy",
                folder["policy"], "--audit", folder["log/audit.jsonl"],
            ] + (isRoot ? ["--user", "0"] : []))
        try manager.wait(for: "readiness") { $0.contains("READY=1") ? true : nil }
        try manager.wait(for: "a sign of life") { $0.contains("WATCHDOG=1") ? true : nil }
        let get = try Program.run(
            Program.built("keybroker"), ["get", "k", "--socket", folder["run/broker.sock"], "--wait", "5"])
        #expect(get.output == "KEY", "\(get.errors)")
        try manager.send("reload")
        try manager.wait(for: "the reload's beginning") { $0.contains("RELOADING=1\\nMONOTONIC_USEC=") ? true : nil }
        try manager.wait(for: "the reload's end") { $0.components(separatedBy: "READY=1").count > 2 ? true : nil }
        try manager.send("stop")
        try manager.wait(for: "the end") { $0.contains("STOPPING=1") && $0.contains("exited 0") ? true : nil }
        try manager.waitForExit()
        // The service manager owns the socket, so it is not removed.
        #expect(FileManager.default.fileExists(atPath: folder["run/broker.sock"]))
    }

    @Test(arguments: [
        (["--nonsense"], "unknown option '--nonsense'"), (["file"], "unknown argument 'file'"),
        (["--policy"], "--policy needs a value"), (["--audit-sync", "maybe"], "'always' or 'never', not 'maybe'"),
        (["--socket-mode", "0999"], "an octal number"), (["--max-connections", "0"], "a number from 1 to 65536"),
        (["--max-connections=-5"], "a number from 1 to 65536"), (["--help=x"], ""),
    ])
    func commandLinesThatAreFaulty(_ arguments: [String], _ message: String) throws {
        let (status, errors) = try refused(arguments)
        if message.isEmpty { return #expect(status == 0) }
        #expect(status == 64)
        #expect(errors.contains(message))
        #expect(errors.split(separator: "\n").count == 1)
    }

    @Test(.enabled(if: isRoot, "needs root, to give it up")) func rootIsGivenUp() throws {
        let daemon = try Daemon(folder, policy: policy())
        let status = try String(contentsOfFile: "/proc/\(daemon.pid)/status", encoding: .utf8)
        func value(_ name: String) -> String {
            status.split(separator: "\n").first { $0.hasPrefix("\(name):") }.map {
                String($0.dropFirst(name.count + 2))
            } ?? ""
        }
        #expect(value("Uid") == "61000\t61000\t61000\t61000")
        #expect(value("Gid") == "61000\t61000\t61000\t61000")
        #expect(value("Groups").trimmingCharacters(in: .whitespaces).isEmpty)
        // CAP_DAC_READ_SEARCH is number 2.
        for set in ["CapPrm", "CapEff", "CapBnd"] { #expect(value(set) == "0000000000000004") }
        for set in ["CapInh", "CapAmb"] { #expect(value(set) == "0000000000000000") }
        #expect(value("NoNewPrivs") == "1")
        let limits = try String(contentsOfFile: "/proc/\(daemon.pid)/limits", encoding: .utf8)
        #expect(limits.split(separator: "\n").contains { $0.contains(#/Max core file size\s+0\s+0/#) })
        // The process is not dumpable, so its files in /proc belong to root.
        let attributes = try FileManager.default.attributesOfItem(atPath: "/proc/\(daemon.pid)/mem")
        #expect(attributes[.ownerAccountID] as? Int == 0)
        #expect(try refused(["--user", "no-such-user"]).errors.contains("there is no user 'no-such-user' to become"))
        try daemon.stop()
    }

    @Test(.enabled(if: isRoot, "needs root, to become an ordinary user")) func anOrdinaryUserServesItsOwnKeys() throws {
        for name in ["home", "home/run", "home/config", "home/state", "home/config/keybroker"] {
            try folder.directory(name, mode: 0o700, owner: 61050)
        }
        try folder.write("home/key", "MINE", mode: 0o600, owner: 61050)
        try folder.write("rootkey", "ROOT'S", mode: 0o600)
        try folder.write("theirs", "THEIRS", mode: 0o644, owner: 61051)
        try folder.write(
            "home/config/keybroker/keybroker.policy",
            "key mine \(folder["home/key"])\nkey roots \(folder["rootkey"])\nkey theirs \(folder["theirs"])\n"
                + "permit 61050 key mine roots theirs\n", owner: 61050)
        let environment = [
            "XDG_RUNTIME_DIR": folder["home/run"], "XDG_CONFIG_HOME": folder["home/config"],
            "XDG_STATE_HOME": folder["home/state"],
        ]
        func asUser(_ command: [String]) -> [String] {
            ["--reuid", "61050", "--regid", "61050", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
                + command
        }
        let setpriv = installed("setpriv") ?? "setpriv"
        let daemon = try Program(setpriv, asUser([Program.built("keybrokerd")]), environment: environment)
        try daemon.wait(for: "readiness", in: .error) { $0.contains("serves ") ? true : nil }
        let socket = folder["home/run/keybroker/broker.sock"]
        #expect(try FileManager.default.attributesOfItem(atPath: socket)[.posixPermissions] as? Int == 0o600)
        func get(_ key: String) throws -> (status: Int32, output: String, errors: String) {
            try Program.run(setpriv, asUser([Program.built("keybroker"), "get", key, "--socket", socket]))
        }
        #expect(try get("mine").output == "MINE")
        // It can open no more than the user can, and does not trust files of other users.
        #expect(try get("roots").errors.contains("file-unreadable"))
        #expect(try get("theirs").errors.contains("file-untrusted"))
        daemon.signal(SIGTERM)
        #expect(try daemon.waitForExit() == 0)
        #expect(!FileManager.default.fileExists(atPath: socket))
        #expect(FileManager.default.fileExists(atPath: folder["home/state/keybroker/audit.jsonl"]))
    }
}
