// An account that may list a directory can keep the kernel's lock on it for as long as it likes: see Peers/hold.py. The
// daemon neither serves less nor fails to end because of that.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, .enabled(if: canMountFUSE, "needs root and /dev/fuse: it mounts a file system that hangs"))
struct BusyDirectoryTests {
    private let folder = TemporaryFolder("busy")
    private let other = "61099"

    private func policy() throws -> String {
        try folder.write("key", "KEY", mode: 0o600)
        return "key k \(folder["key"])\npermit 61001 key k\n"
    }

    /// A program of the other account that keeps a directory busy, or tries to.
    private func hold(_ name: String, with file: HangingFileSystem) throws -> Program {
        try file.tell("hang read")
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/hold.py").path
        return try Program(installed("python3") ?? "python3", [script, folder[name], file.key, other])
    }

    @Test func nobodyElseMayListTheSocketsDirectory() throws {
        let far = try HangingFileSystem(folder, "far")
        let daemon = try Daemon(folder, policy: try policy())
        let holder = try hold("run", with: far)
        #expect(try holder.nextLine() == "refused")
        #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").contents == ["KEY"])
        #expect(try daemon.stop() == 0)
    }

    /// As it was made before, or by an admin.
    @Test func theDirectoryOfTheSocketIsBusy() throws {
        let far = try HangingFileSystem(folder, "far")
        try folder.directory("run")
        let daemon = try Daemon(folder, policy: try policy())
        let holder = try hold("run", with: far)
        try far.tell("wait")
        #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").contents == ["KEY"])
        #expect(try daemon.stop() == 0)
        try far.tell("go")
        try holder.waitForExit()
        try daemon.restart()
        #expect(try daemon.stop() == 0)
    }

    /// Root waits in each of them to make a file. What the kernel has in its cache is found even so.
    @Test func everyDirectoryIsBusyAndRootWaits() throws {
        let names = ["keys", "policies", "log", "run"]
        for name in names { try folder.directory(name, owner: name == "log" ? Int(Daemon.uid) : 0) }
        try folder.write("keys/key", "KEY", mode: 0o600)
        try folder.write("policies/a.policy", "key k \(folder["keys/key"])\npermit 61001 key k\n")
        let daemon = try Daemon(folder, policy: "", policyPath: folder["policies"])
        #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").contents == ["KEY"])
        // Each has a file system of its own: of one that hangs nothing else can be opened.
        let all = try names.map { name in
            let far = try HangingFileSystem(folder, "far-\(name)")
            let holder = try hold(name, with: far)
            try far.tell("wait")
            let writer = try Program("/bin/touch", [folder["\(name)/new"]])
            try waitUntil("root waits in \(name)") { OtherProcess.waitsInKernel(writer.pid) }
            return (far, holder, writer)
        }
        for _ in 0..<3 { #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").contents == ["KEY"]) }
        // The policy's directory cannot be read. That keeps nobody waiting but who wants the new policy.
        daemon.program.signal(SIGHUP)
        for _ in 0..<3 { #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").contents == ["KEY"]) }
        daemon.program.signal(SIGTERM)
        #expect(try daemon.program.waitForExit() == 0)
        for (far, holder, writer) in all {
            try far.tell("go")
            try holder.waitForExit()
            try writer.waitForExit()
        }
        try daemon.restart()
        #expect(try daemon.stop() == 0)
    }

    /// Whoever may write to a sticky directory may change its times as often as it likes.
    @Test func theTimesOfADirectoryAboveAKeyChangeAllTheTime() throws {
        for name in ["key", "certificate"] { try folder.write(name, name, mode: 0o600) }
        try folder.directory("sticky", mode: 0o1777)
        try folder.directory("sticky/own")
        try folder.write("sticky/own/key", "PAIR", mode: 0o600)
        let daemon = try Daemon(
            folder,
            policy: """
                key near \(folder["key"])
                key pair \(folder["sticky/own/key"]) certificate \(folder["certificate"])
                permit 61001 key near pair
                limit 61001 requests 10000

                """)
        let user = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try user.ask("1Gpair").contents == ["PAIR", "certificate"])
        let attributes = try FileManager.default.attributesOfItem(atPath: folder["sticky"])
        let inode = String(try #require(attributes[.systemFileNumber] as? UInt64), radix: 16)
        #expect(try daemon.watchedDirectories().contains(inode))
        let script = """
            import os, sys
            os.setresuid(\(other), \(other), \(other))
            for time in range(1, 1 << 40): os.utime(sys.argv[1])
            """
        let toucher = try Program(installed("python3") ?? "python3", ["-c", script, folder["sticky"]])
        try waitUntil("the directory is watched no more") {
            #expect(try user.ask("1Gnear").contents == ["key"])
            return try !daemon.watchedDirectories().contains(inode)
        }
        #expect(try user.ask("1Gnear").contents == ["key"])
        // Events that are queued still count as changes.
        #expect(try user.ask("1Gpair") { $0.status == "B" }.contents == ["PAIR", "certificate"])
        toucher.signal(SIGKILL)
        try toucher.waitForExit()
        #expect(try daemon.stop() == 0)
    }

    /// The directory is root's, and anybody may list it. The account of the daemon cannot make a lock there.
    @Test func theDirectoryOfTheLogIsLockedByAnotherAccount() throws {
        try folder.directory("log")
        try folder.write("log/audit.jsonl", "", mode: 0o600, owner: Int(Daemon.uid))
        let script = """
            import fcntl, os, sys
            os.setresuid(\(other), \(other), \(other))
            fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
            print("locked", flush=True)
            sys.stdin.read()
            """
        let holder = try Program(installed("python3") ?? "python3", ["-c", script, folder["log"]])
        #expect(try holder.nextLine() == "locked")
        let daemon = try Daemon(folder, policy: try policy())
        // A second writer is still kept out.
        let second = try Program.run(
            Program.built("keybrokerd"),
            [
                "--policy", folder["policy"], "--socket", folder["run2/s"], "--socket-group", "0", "--audit",
                daemon.audit, "--user", String(Daemon.uid),
            ])
        #expect(second.status == 75, "\(second.errors)")
        #expect(try daemon.stop() == 0)
        try holder.waitForExit()
    }
}

extension Daemon {
    /// The directories that it watches with inotify(7), by the numbers of their inodes.
    fileprivate func watchedDirectories() throws -> [String] {
        let folder = "/proc/\(pid)/fdinfo"
        return try FileManager.default.contentsOfDirectory(atPath: folder)
            .compactMap { try? String(contentsOfFile: "\(folder)/\($0)", encoding: .utf8) }
            .flatMap { $0.matches(of: #/inotify wd:\S+ ino:(\S+)/#).map { String($0.output.1) } }
    }
}
