// The programs in a chroot: with /proc and without it, and with nothing of the machine but the broker's directory.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, Jail.condition) struct ChrootTests {
    private let folder = TemporaryFolder("chroot")
    private static let socket = "/run/keybroker/broker.sock"

    private func daemon() throws -> Daemon {
        try folder.write("key", "THE KEY\n", mode: 0o600)
        return try Daemon(folder, policy: "key web \(folder["key"])\npermit 61001 key web\n")
    }

    /// A root directory that shares the broker's directory, at the place where programs look for it.
    private func jail(hasProc: Bool) throws -> Jail {
        try Jail(folder, hasProc: hasProc, shares: [(folder["run"], "/run/keybroker")], isReadOnly: true)
    }

    @Test(arguments: [true, false]) func theToolDoesWhatItIsToldTo(hasProc: Bool) throws {
        let daemon = try daemon()
        let jail = try jail(hasProc: hasProc)
        let granted = try jail.run("keybroker", ["get", "web"], user: 61001)
        #expect(granted.status == 0 && granted.output == "THE KEY\n", "\(granted)")
        let denied = try jail.run("keybroker", ["get", "web"], user: 61002)
        #expect(denied.status == 77 && denied.output.isEmpty, "\(denied)")
        #expect(try jail.run("keybroker", ["list"], user: 61001).output == "web\n")
        #expect(try jail.run("keybroker", ["--version"]).output.hasPrefix("keybroker "))
        #expect(try jail.run("keybroker", ["get"], user: 61001).status == 64)
        #expect(try jail.run("keybrokerd", ["--version"]).output.hasPrefix("keybrokerd "))
        #expect(try jail.run("keybroker-tls-demo", ["--version"]).output.hasPrefix("keybroker-tls-demo "))
        // The broker is outside, and sees who calls as it sees everybody.
        let record = try #require(try daemon.records().first { $0["decision"] as? String == "granted" })
        #expect(record["uid"] as? Int == 61001 && record["comm"] as? String == "keybroker")
    }

    /// The directory is shared, so a broker that starts anew is found there.
    @Test func aBrokerThatStartsAnewIsFound() throws {
        let daemon = try daemon()
        let jail = try jail(hasProc: false)
        #expect(try jail.run("keybroker", ["get", "web"], user: 61001).status == 0)
        let waiting = try jail.command("keybroker", ["get", "web", "--wait", "20"], user: 61001)
        try daemon.stop()
        let program = try Program(waiting.executable, waiting.arguments)
        try daemon.restart()
        #expect(try program.waitForExit() == 0)
        #expect(program.text() == "THE KEY\n")
    }

    @Test func thePolicyAndTheLogAreReadWithoutProc() throws {
        try folder.directory("policy.d")
        try folder.write("policy.d/a.policy", "key web /key\npermit root key web\n")
        try folder.write("passwd", "root:x:0:0:root:/root:/bin/sh\n")
        let daemon = try daemon()
        let jail = try Jail(
            folder, hasProc: false,
            shares: [
                (folder["policy.d"], "/etc/keybroker/policy.d"), (folder["log"], "/log"),
                (folder["passwd"], "/etc/passwd"),
            ])
        let check = try jail.run("keybroker", ["policy", "check", "/etc/keybroker/policy.d"])
        #expect(check.status == 0, "\(check)")
        let show = try jail.run("keybroker", ["policy", "show", "--policy", "/etc/keybroker/policy.d"])
        #expect(show.output.contains("web"), "\(show)")
        // Without the files of time zones, TZ can say what it means by itself.
        let log = ["audit", "show", "--audit", "/log/audit.jsonl"]
        let east = try jail.run("keybroker", log, environment: ["TZ": "EAST-1"])
        #expect(east.status == 0 && east.output.contains("+01:00"), "\(east)")
        #expect(try jail.run("keybroker", log, environment: ["TZ": "Europe/Berlin"]).output.contains("Z  start"))
        try daemon.stop()
    }

    /// - Parameter entrance: see `Jail.command`.
    private func served(_ entrance: [String]?, options: [String] = []) throws {
        try folder.directory("etc/policy.d")
        try folder.write("etc/policy.d/a.policy", "key web /etc/keybroker/key\npermit www key web\n")
        try folder.write("etc/key", "THE KEY\n", mode: 0o600)
        try folder.write("passwd", "www:x:61001:61001::/:/bin/sh\nkeybroker:x:61000:61000::/:/bin/sh\n")
        try folder.write("group", "keyusers:x:61001:\n")
        try folder.directory("run", owner: entrance == nil ? nil : 61000)
        try folder.directory("log", owner: 61000)
        let jail = try Jail(
            folder, hasProc: false,
            shares: [
                (folder["etc"], "/etc/keybroker"), (folder["run"], "/run/keybroker"), (folder["passwd"], "/etc/passwd"),
                (folder["group"], "/etc/group"), (folder["log"], "/var/log/keybroker"),
            ])
        let (executable, arguments) = try jail.command(
            "keybrokerd",
            [
                "--policy", "/etc/keybroker/policy.d", "--socket", Self.socket, "--audit",
                "/var/log/keybroker/audit.jsonl",
            ] + options, entrance: entrance)
        let daemon = try Program(executable, arguments)
        try daemon.wait(for: "readiness", in: .error) { $0.contains("serves ") ? true : nil }
        let reply = try PeerProcess(folder["run/broker.sock"], uid: 61001).ask("1Gweb")
        #expect(reply.contents == ["THE KEY\n"], "\(reply.packet)")
        #expect(try PeerProcess(folder["run/broker.sock"], uid: 61002, gid: 61001).ask("1Gweb").status == "D")
        daemon.signal(SIGTERM)
        #expect(try daemon.waitForExit() == 0)
    }

    /// The names of the policy are looked up, and a directory of policies is read.
    @Test func theDaemonServesWithoutProc() throws { try served(nil) }

    /// If its capabilities cannot be changed, the process that looks up names executes the program anew.
    @Test func theNameServiceExecutesItselfWithoutProc() throws {
        let python = try #require(installed("python3"))
        let script = testsFolder.appendingPathComponent("FieldTests/Peers/unit.py").path
        try served([python, script, "61000"], options: ["--socket-group", "61000", "--socket-mode", "0666"])
    }

    @Test func theDemoServesWithoutProc() throws {
        let demo = try Demo(folder)
        let jail = try Jail(
            folder, hasProc: false, shares: [(folder["run"], "/run/keybroker"), (folder["www"], "/run/www")])
        let (executable, arguments) = try jail.command(
            "keybroker-tls-demo", ["--key", "web", "--listen", "unix:/run/www/s"], user: Demo.uid)
        let server = try Program(executable, arguments)
        try server.wait(for: "readiness") { $0.contains("ready: ") ? true : nil }
        let page = try demo.page("https://localhost", ["--unix-socket", demo.socket])
        #expect(page.contains("\"account\":\"uid 61033\"") && page.contains("\"gid\":\"61033\""), "\(page)")
        server.signal(SIGTERM)
        #expect(try server.waitForExit() == 0)
    }
}
