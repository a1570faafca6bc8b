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
