// Who gets which key: real processes with real uids, gids, groups and cgroups.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, .enabled(if: isRoot, "needs root: it becomes other accounts"))
struct IdentityTests {
    private let folder = TemporaryFolder("identity")

    private func daemon(_ permits: String, options: [String] = []) throws -> Daemon {
        try folder.write("web.pem", "THE KEY", mode: 0o600)
        try folder.write("web.crt", "THE CERTIFICATE")
        let keys = """
            key web \(folder["web.pem"]) certificate \(folder["web.crt"])
            key bare \(folder["web.pem"])

            """
        return try Daemon(folder, policy: keys + permits, options: options)
    }

    @Test func aPermittedUserGetsKeyAndCertificate() throws {
        let daemon = try daemon("permit 61001 key web bare")
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        for _ in 0..<3 {
            let reply = try peer.ask("1Gweb")
            #expect(reply.status == "K")
            #expect(reply.contents == ["THE KEY", "THE CERTIFICATE"])
            for file in reply.files {
                #expect(file["offset"] as? Int == 0)
                #expect(file["access"] as? Int == 0)
                #expect(file["cloexec"] as? Bool == true)
            }
            // The service has a file descriptor, but it may not open the path itself.
            #expect(reply.files.first?["reopened"] as? Bool == false)
            let record = try daemon.record(reply.decision)
            #expect(record["decision"] as? String == "granted")
            #expect(record["uid"] as? Int == 61001)
            #expect(record["rule"] as? String == "\(folder["policy"]):3")
            #expect((record["file"] as? [String: Any])?["path"] as? String == folder["web.pem"])
            #expect(record["pid"] as? Int == Int(peer.program.pid))
            #expect((record["comm"] as? String)?.hasPrefix("python") == true)
        }
        #expect(try peer.ask("1Gbare\\n").contents == ["THE KEY"])
        #expect(try peer.ask("1V").packet == "1V0.1.0")
    }

    @Test func deniedAndUnknownReadAlikeAndOpenNothing() throws {
        let daemon = try daemon("permit 61001 key web")
        let peer = try PeerProcess(daemon.socket, uid: 61002)
        let (denied, unknown) = (try peer.ask("1Gweb"), try peer.ask("1Gnone"))
        #expect(denied.packet == "1D\(denied.decision) not permitted")
        #expect(unknown.packet == "1D\(unknown.decision) not permitted")
        #expect(denied.files.isEmpty && unknown.files.isEmpty)
        #expect(try daemon.record(denied.decision)["reason"] as? String == "no-rule")
        #expect(try daemon.record(unknown.decision)["reason"] as? String == "unknown-key")
    }

    @Test func deniedAndUnknownMakeTheSameSystemCalls() throws {
        let daemon = try daemon("permit 61001 key web")
        // From now on the daemon knows the unit of the control group that all of them run in.
        _ = try PeerProcess(daemon.socket, uid: 61002).ask("1Gother")
        func calls(_ request: String) throws -> [String] {
            let calls = try Trace.of(daemon.pid, until: Trace.has("sendmsg")) {
                _ = try PeerProcess(daemon.socket, uid: 61002).ask(request)
            }
            // Calls after the reply are left out, because strace may or may not see them. `read` and another
            // `epoll_wait` are left out because other processes may change a directory on the path: the daemon then
            // reads that event and waits again.
            // Before it accepts, the daemon looks once a second whether its log was rotated. Then it tries to receive, and
            // waits if the client has not sent its request yet.
            return try calls[...#require(calls.lastIndex(of: "sendmsg"))].drop { $0 != "accept4" }
                .filter { !["read", "epoll_wait", "accept4", "recvmsg"].contains($0) }
        }
        let (denied, unknown) = (try calls("1Gweb"), try calls("1Gnone"))
        #expect(denied == unknown)
        #expect(denied.contains("write"))
        // One: of the audit log.
        #expect(denied.count { $0 == "newfstatat" || $0 == "fstat" } == 1)
    }

    @Test func supplementaryAndPrimaryGroups() throws {
        let daemon = try daemon("permit :61100 key web")
        func status(_ gid: UInt32, _ groups: [UInt32]) throws -> String {
            try PeerProcess(daemon.socket, uid: 61003, gid: gid, groups: groups).ask("1Gweb").status
        }
        #expect(try status(61100, []) == "K")
        #expect(try status(61003, [1, 61100, 2]) == "K")
        #expect(try status(61003, [1, 2]) == "D")
        // These are more groups than fit into the buffer of the first call.
        #expect(try status(61003, Array(61101...61400)) == "D")
        #expect(try status(61003, Array(61100...61400)) == "K")
    }

    @Test func rootNeedsALineLikeAnybodyElse() throws {
        let daemon = try daemon("permit 61001 key web")
        #expect(try PeerProcess(daemon.socket).ask("1Gweb").status == "D")
    }

    @Test func theOverflowUidIsNobodys() throws {
        let daemon = try daemon("permit 65534 key web\npermit :61100 key web")
        let reply = try PeerProcess(daemon.socket, uid: 65534).ask("1Gweb")
        #expect(reply.packet == "1D\(reply.decision) not permitted")
        #expect(try daemon.record(reply.decision)["reason"] as? String == "overflow-uid")
        #expect(try PeerProcess(daemon.socket, uid: 65534, groups: [61100]).ask("1Gweb").status == "D")
        #expect(try PeerProcess(daemon.socket, uid: 61001, groups: [61100]).ask("1Gweb").status == "K")
    }

    @Test func listing() throws {
        let daemon = try daemon("permit 61001 key web bare\npermit 61002 key bare")
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try peer.ask("1L").packet == "1Lbare\nweb")
        #expect(try peer.receive().packet == "1L")
        let other = try PeerProcess(daemon.socket, uid: 61003)
        #expect(try other.ask("1L").packet == "1L")
    }

    @Test func aListThatTakesManyPackets() throws {
        try folder.write("web.pem", "x", mode: 0o600)
        let names = (0..<5000).map { "key-with-a-rather-long-name-so-that-packets-fill-\($0)" }
        let policy = names.map { "key \($0) \(folder["web.pem"])\npermit 61001 key \($0)\n" }.joined()
        let daemon = try Daemon(folder, policy: policy)
        let (status, output, errors) = try Program.run(
            installed("setpriv") ?? "setpriv",
            [
                "--reuid", "61001", "--regid", "61001", "--clear-groups", Program.built("keybroker"), "list",
                "--socket",
                daemon.socket,
            ])
        #expect(status == 0, "\(errors)")
        #expect(output.split(separator: "\n").map(String.init) == names.sorted())
    }

    @Test func unitsAreReadFromTheCgroup() throws {
        let root = "/sys/fs/cgroup/unified"
        let mount = FileManager.default.fileExists(atPath: "\(root)/cgroup.procs") ? root : "/sys/fs/cgroup"
        let name = "kbtest-\(UUID().uuidString.prefix(8)).service"
        let slice = "\(mount)/kbtest.slice"
        try? FileManager.default.createDirectory(atPath: "\(slice)/\(name)", withIntermediateDirectories: true)
        guard FileManager.default.fileExists(atPath: "\(slice)/\(name)/cgroup.procs") else {
            print("skipped: no cgroup2 to make a unit's cgroup in; SystemdTests will have real units")
            return
        }
        defer { try? folder.shell("rmdir \(slice)/\(name) \(slice)") }
        let daemon = try daemon("permit 61001 unit kbtest-*.service key web")
        let outside = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try outside.ask("1Gweb").status == "D")
        let inside = try PeerProcess(daemon.socket, uid: 61001)
        try Data("\(inside.program.pid)\n".utf8).write(to: URL(fileURLWithPath: "\(slice)/\(name)/cgroup.procs"))
        let reply = try inside.ask("1Gweb")
        #expect(reply.status == "K")
        #expect(try daemon.record(reply.decision)["unit"] as? String == name)

        // Now the daemon knows the units of both control groups, and each caller is still taken for what it is.
        for _ in 0..<2 {
            let another = try PeerProcess(daemon.socket, uid: 61001)
            let refused = try another.ask("1Gweb")
            #expect(refused.status == "D")
            #expect(try daemon.record(refused.decision)["unit"] as? String != name)
            // Its unit was read at its first request. Another connection from the same control group has the same one.
            let moved = try PeerProcess(daemon.socket, uid: 61001)
            try Data("\(moved.program.pid)\n".utf8).write(to: URL(fileURLWithPath: "\(slice)/\(name)/cgroup.procs"))
            let granted = try moved.ask("1Gweb")
            #expect(granted.status == "K")
            #expect(try daemon.record(granted.decision)["unit"] as? String == name)
            moved.program.signal(SIGKILL)
            try moved.program.waitForExit()
        }
        inside.program.signal(SIGKILL)
        try inside.program.waitForExit()
    }

    /// A control group that is made again under its old name is another one, with another number.
    @Test func theUnitOfAControlGroupThatWasMadeAgain() throws {
        let root = "/sys/fs/cgroup/unified"
        let mount = FileManager.default.fileExists(atPath: "\(root)/cgroup.procs") ? root : "/sys/fs/cgroup"
        let (old, new) = (
            "kbold-\(UUID().uuidString.prefix(8)).service", "kbnew-\(UUID().uuidString.prefix(8)).service"
        )
        let daemon = try daemon("permit 61001 unit kbold-*.service key web")
        for (name, status) in [(old, "K"), (new, "D"), (old, "K"), (new, "D")] {
            try? FileManager.default.createDirectory(atPath: "\(mount)/\(name)", withIntermediateDirectories: false)
            guard FileManager.default.fileExists(atPath: "\(mount)/\(name)/cgroup.procs") else {
                print("skipped: no cgroup2 to make a unit's cgroup in; SystemdTests will have real units")
                return
            }
            defer { try? folder.shell("rmdir \(mount)/\(name)") }
            let peer = try PeerProcess(daemon.socket, uid: 61001)
            try Data("\(peer.program.pid)\n".utf8).write(to: URL(fileURLWithPath: "\(mount)/\(name)/cgroup.procs"))
            let reply = try peer.ask("1Gweb")
            #expect(reply.status == status)
            #expect(try daemon.record(reply.decision)["unit"] as? String == name)
            peer.program.signal(SIGKILL)
            try peer.program.waitForExit()
        }
    }

    @Test func aClientOfAFewLines() throws {
        let daemon = try daemon("permit 61001 key web")
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/minimal.py")
        let text = try String(contentsOf: script, encoding: .utf8)
        let copy = try folder.write("minimal.py", text)
        func run(_ uid: String, _ key: String) throws -> (status: Int32, output: String, errors: String) {
            try Program.run(
                installed("setpriv") ?? "setpriv",
                [
                    "--reuid", uid, "--regid", uid, "--clear-groups", installed("python3") ?? "python3", copy, key,
                    daemon.socket,
                ])
        }
        let granted = try run("61001", "web")
        #expect(granted.status == 0 && granted.output == "THE KEY", "\(granted.errors)")
        #expect(try run("61002", "web").errors.contains("PermissionError: decision"))
    }

    @Test func aPersonWithSocat() throws {
        let daemon = try daemon("permit 0 key web")
        let (status, output, _) = try Program.run(
            "/bin/sh", ["-c", "echo 1Gweb | socat -t20 - UNIX-CONNECT:\(daemon.socket),type=5"])
        #expect(status == 0)
        #expect(output.hasPrefix("1K"))
    }

    @Test func theSocketsGroupDecidesWhoMayConnect() throws {
        let daemon = try daemon(
            "permit 61001 key web", options: ["--socket-group", "61200", "--socket-mode", "0660"])
        let result = try PeerProcess(daemon.socket, uid: 61001).step("send 1Gweb")
        #expect((result["error"] as? String)?.contains("PermissionError") == true)
        #expect(try PeerProcess(daemon.socket, uid: 61001, groups: [61200]).ask("1Gweb").status == "K")
    }
}
