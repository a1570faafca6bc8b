// A user's own broker: all commands use its policy and its log, and say what to type.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: it becomes another account"), .enabled(if: installed("setpriv") != nil))
struct OwnBrokerTests {
    private let folder = TemporaryFolder("own")
    private static let uid: UInt32 = 61_033

    init() throws {
        for name in ["home", "home/run"] { try folder.directory(name, owner: Int(Self.uid)) }
    }

    private var socket: String { folder["home/run/keybroker/broker.sock"] }
    private var policy: String { folder["home/.config/keybroker/keybroker.policy"] }

    private func asUser(_ program: String, _ arguments: [String]) -> [String] {
        let uid = String(Self.uid)
        return ["--reuid", uid, "--regid", uid, "--clear-groups", "--", program] + arguments
    }

    private func environment(_ more: [String: String] = [:]) -> [String: String] {
        ["HOME": folder["home"], "XDG_RUNTIME_DIR": folder["home/run"]].merging(more) { $1 }
    }

    private func tool(_ arguments: String..., named socket: String? = nil, editor: String = "true") throws
        -> (status: Int32, output: String, errors: String)
    {
        var more = ["EDITOR": editor]
        if let socket { more["KEYBROKER_SOCKET"] = socket }
        return try Program.run(
            installed("setpriv") ?? "setpriv", asUser(Program.built("keybroker"), arguments),
            environment: environment(more), directory: "/")
    }

    /// The user's policy, and a daemon of the user that has it in force.
    private func daemon() throws -> Program {
        let me = Int(Self.uid)
        for name in [".config", ".config/keybroker", "run/keybroker", ".local", ".local/state"] {
            try folder.directory("home/\(name)", mode: 0o700, owner: me)
        }
        try folder.write("home/mine.pem", "MINE", mode: 0o600, owner: me)
        try folder.write(
            "home/.config/keybroker/keybroker.policy", "key mine \(folder["home/mine.pem"])\npermit \(me) key mine\n",
            owner: me)
        let daemon = try Program(
            installed("setpriv") ?? "setpriv", asUser(Program.built("keybrokerd"), []), environment: environment())
        try daemon.wait(for: "readiness", in: .error) { $0.contains("serves ") ? true : nil }
        return daemon
    }

    @Test func allCommandsUseItsFiles() throws {
        let daemon = try daemon()
        #expect(try tool("get", "mine", named: socket).output == "MINE")
        for named in [socket, nil] {
            for command in [["policy", "check"], ["policy", "show"], ["policy", "explain", "--key", "mine"]] {
                let (status, output, errors) = try Program.run(
                    installed("setpriv") ?? "setpriv", asUser(Program.built("keybroker"), command),
                    environment: environment(named.map { ["KEYBROKER_SOCKET": $0] } ?? [:]))
                #expect(status == 0, "\(errors)")
                #expect(errors == "keybroker: this is the policy of your own broker, \(policy)\n", "\(command)")
                #expect(command.last == "check" || output.contains("mine"), "\(output)")
            }
            let log = folder["home/.local/state/keybroker/audit.jsonl"]
            for command in ["show", "verify"] {
                let (status, _, errors) = try tool("audit", command, named: named)
                #expect(status == 0, "\(errors)")
                #expect(errors == "keybroker: this is the log of your own broker, \(log)\n")
            }
            #expect(try tool("policy", "edit", named: named).output == "\(policy) is unchanged\n")
        }
        // Another socket means the system's daemon.
        let system = try tool("policy", "check", named: "/run/keybroker/broker.sock")
        #expect(!system.errors.contains("your own broker"), "\(system.errors)")
        daemon.signal(SIGTERM)
        try daemon.waitForExit()
    }

    /// The tools say of the status what the daemon does: it tells its own account, without any line.
    @Test func itsUserMayAskForTheStatus() throws {
        let daemon = try daemon()
        let me = "\(Self.uid)"
        #expect(try tool("status", named: socket).status == 0)
        let mine = try tool("policy", "explain", "--user", me, "--status", named: socket)
        #expect(mine.status == 0)
        #expect(mine.output == "permitted: the daemon runs as \(me), which may ask for the status\n")
        #expect(try tool("policy", "explain", "--user", "61034", "--status", named: socket).status == 77)
        let expectations = try folder.write("expectations", "expect \(me) status granted\nexpect 61034 status denied\n")
        #expect(try tool("policy", "test", expectations, named: socket).output == "2 expectations met\n")
        daemon.signal(SIGTERM)
        try daemon.waitForExit()
    }

    /// An edit counts only after a reload.
    @Test func aForgottenReloadIsSaid() throws {
        let daemon = try daemon()
        let said = "keybroker: the daemon has another policy in force; type: keybroker reload"
        #expect(try !tool("policy", "check", named: socket).errors.contains("in force"))
        #expect(try !tool("status", named: socket).output.contains("another"))
        try folder.write(
            "home/.config/keybroker/keybroker.policy", "key mine \(folder["home/mine.pem"])\npermit 0 key mine\n",
            owner: Int(Self.uid))
        #expect(try tool("policy", "check", named: socket).errors.hasSuffix("\(said)\n"))
        #expect(try tool("policy", "check").errors.hasSuffix("\(said) --socket \(socket)\n"))
        let explained = try tool("policy", "explain", "--user", "0", "--key", "mine", named: socket)
        #expect(explained.status == 0 && explained.errors.hasSuffix("\(said)\n"), "\(explained.errors)")
        let status = try tool("status", named: socket)
        #expect(status.status == 0)
        #expect(
            status.output.contains("\n             the files have another policy; type: keybroker reload\n"),
            "\(status.output)")
        #expect(try tool("reload", named: socket).status == 0)
        try folder.shell("cp -a home/.config/keybroker/keybroker.policy good")
        try folder.shell("echo nonsense >>home/.config/keybroker/keybroker.policy")
        let faulty = try tool("status", named: socket)
        #expect(faulty.output.contains("the files have a faulty policy; type: keybroker policy check\n"), "\(faulty)")
        try folder.shell("cp -a good home/.config/keybroker/keybroker.policy")
        #expect(try !tool("policy", "check", named: socket).errors.contains("in force"))
        daemon.signal(SIGTERM)
        try daemon.waitForExit()
        // Nothing is said, and nothing started, if no daemon runs.
        #expect(try tool("policy", "check", named: socket).status == 0)
    }

    /// Without files of its own, a user is told of both ways.
    @Test func editingSaysWhatToType() throws {
        let denied = try tool("policy", "edit")
        // The system's policy may not be there.
        #expect(denied.status == 77 || denied.status == 71)
        #expect(
            denied.errors.hasSuffix(
                "; the policy is for its owner to edit: use sudo; or, for a broker of your own: mkdir -p "
                    + "~/.config/keybroker\n"), "\(denied.errors)")
        let mine = try tool("policy", "edit", named: socket)
        #expect(mine.status == 71)
        #expect(
            mine.errors.hasSuffix("does not exist; type: mkdir -p \(folder["home/.config/keybroker"])\n"), "\(mine)")
        try folder.shell("install -d -o \(Self.uid) home/.config home/.config/keybroker")
        let script = try folder.write("editor", "#!/bin/sh\necho '# mine' >>\"$1\"\n", mode: 0o755)
        let edited = try tool("policy", "edit", "--no-reload", editor: script)
        #expect(edited.output.contains("\(policy) is in place"), "\(edited)")
    }
}
