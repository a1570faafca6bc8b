// Something happens to the log's files or to its directory while the daemon runs: what the caller sees, what the daemon
// says, and how it goes on.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: the daemon has an account of its own"))
struct LogReplacementTests {
    private let folder = TemporaryFolder("logreplaced")

    private func started() throws -> (Daemon, PeerProcess) {
        try folder.write("key", "KEY", mode: 0o600)
        let daemon = try Daemon(
            folder, policy: "key k \(folder["key"])\npermit 61001 key k\nlimit 61001 requests 1000000\n")
        return (daemon, try PeerProcess(daemon.socket, uid: 61001))
    }

    private var newLog: String { "install -o \(Daemon.uid) -m 640 /dev/null log/audit.jsonl" }

    private func verify() throws -> (status: Int32, text: String) {
        let (status, output, errors) = try Program.run(
            Program.built("keybroker"), ["audit", "verify", "--audit", folder["log/audit.jsonl"]])
        return (status, output + errors)
    }

    /// Asks for the key until the daemon has said something. Returns how often there was no key.
    private func ask(_ peer: PeerProcess, until text: String, from daemon: Daemon) throws -> Int {
        let deadline = Date(timeIntervalSinceNow: 20)
        var refused = 0
        while !daemon.program.text(.error).contains(text) {
            let reply = try peer.ask("1Gk")
            #expect(reply.status == "K" || reply.packet == "1U0 audit-unavailable", "\(reply.packet)")
            if reply.status != "K" { refused += 1 }
            guard Date() < deadline else { throw Waited(description: "it did not say '\(text)'") }
        }
        return refused
    }

    /// logrotate without `delaycompress`.
    @Test func aCompressedLogAndAnEmptyNewOne() throws {
        let (daemon, peer) = try started()
        #expect(try peer.ask("1Gk").status == "K")
        try folder.shell("mv log/audit.jsonl log/audit.jsonl-1; \(newLog); gzip log/audit.jsonl-1")
        // The old file is gone before the daemon looks again. It looks at once if it cannot write.
        #expect(try ask(peer, until: "goes on in a new audit log", from: daemon) <= 1)
        #expect(try peer.ask("1Gk").status == "K")
        let clean = try verify()
        #expect(clean.status == 0, "\(clean.text)")
        // Then the power fails before a record is in the new file.
        try folder.shell("mv log/audit.jsonl log/audit.jsonl-2; \(newLog)")
        try daemon.kill()
        try folder.shell("gzip log/audit.jsonl-2")
        let said = try refusedStart(folder)
        #expect(said.contains("is empty, and its last records are in a compressed file; nothing is added to it"))
        #expect(said.contains("gunzip \(folder["log/audit.jsonl-2.gz"])"))
        #expect(try folder.text("log/audit.jsonl").isEmpty)
        try folder.shell("gunzip log/audit.jsonl-2.gz")
        try daemon.restart()
        #expect(try daemon.stop() == 0)
        let after = try verify()
        #expect(after.status == 0, "\(after.text)")
    }

    /// The records go on in the directory that was moved away, and no key leaves without one.
    @Test func aLogDirectoryThatWasReplaced() throws {
        let (daemon, peer) = try started()
        #expect(try peer.ask("1Gk").status == "K")
        try folder.shell("mv log old; install -d -o \(Daemon.uid) -m 750 log")
        #expect(try peer.ask("1Gk").status == "K")
        try folder.shell(newLog)
        let said = "the audit log is not reopened, and the old file is written on"
        #expect(try ask(peer, until: said, from: daemon) == 0)
        #expect(try folder.text("log/audit.jsonl").isEmpty)
        // The files belong together: with those of the old directory in the new one, the numbers go on after a restart.
        #expect(try daemon.stop() == 0)
        try folder.shell("mv old/audit.jsonl log/audit.jsonl.1")
        try daemon.restart()
        #expect(try daemon.stop() == 0)
        let after = try verify()
        #expect(after.status == 0, "\(after.text)")
    }

    /// Nothing is granted while the records would be lost. A reload cannot help, as the sandbox does not know the new
    /// directory; a restart does.
    @Test func aLogDirectoryThatWasRemoved() throws {
        let (daemon, peer) = try started()
        #expect(try peer.ask("1Gk").status == "K")
        try folder.shell("rm -r log; install -d -o \(Daemon.uid) -m 750 log")
        let reply = try peer.ask("1Gk")
        #expect(reply.packet == "1U0 audit-unavailable" && reply.files.isEmpty)
        try daemon.program.wait(for: "what is to be done", in: .error) {
            $0.contains("if its directory was removed as well, restart keybrokerd") ? true : nil
        }
        #expect(try daemon.reload().contains("the audit log is not reopened"))
        #expect(try peer.ask("1Gk").packet == "1U0 audit-unavailable")
        _ = try daemon.stop()
        try daemon.restart()
        #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").status == "K")
        #expect(try daemon.stop() == 0)
    }
}
