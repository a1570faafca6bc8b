// The daemon's streams as whoever starts it leaves them: on a terminal that nobody reads, or closed.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: it becomes other accounts"))
struct StreamsTests {
    private let folder = TemporaryFolder("streams")

    /// Starts a daemon with what a shell makes of `redirections`, and waits until it has begun its log.
    private func daemon(_ redirections: String, _ policy: String) throws -> Program {
        try folder.write("key", "KEY", mode: 0o600)
        try folder.write("policy", policy + "key k \(folder["key"])\npermit 61002 key k\n")
        let daemon = try Program(
            "/bin/sh",
            [
                "-c", "exec \"$0\" \"$@\" \(redirections)", Program.built("keybrokerd"), "--policy", folder["policy"],
                "--socket", folder["run/broker.sock"], "--socket-mode", "0666", "--socket-group", "0", "--audit",
                folder["log/audit.jsonl"], "--user", String(Daemon.uid),
            ])
        let deadline = Date(timeIntervalSinceNow: 20)
        while (try? folder.text("log/audit.jsonl"))?.isEmpty != false, Date() < deadline { usleep(10_000) }
        return daemon
    }

    /// Makes a terminal, tells its name, and reads it when it is told to.
    private static let terminal = """
        import os, sys
        master, slave = os.openpty()
        print(os.ttyname(slave), flush=True)
        sys.stdin.readline()
        while True:
            os.write(1, os.read(master, 65536).replace(b"\\r", b""))
        """

    @Test func aTerminalThatNobodyReadsStopsNobody() throws {
        let terminal = try Program(installed("python3") ?? "python3", ["-c", Self.terminal])
        let name = try terminal.nextLine()
        let missing = (0..<300).map { "key m\($0) \(folder["none\($0)"])\n" }.joined()
        let daemon = try daemon("2>\(name)", missing)
        let peer = try PeerProcess(folder["run/broker.sock"], uid: 61002)
        for _ in 0..<3 {
            #expect(try peer.ask("1Gk").status == "K")
            daemon.signal(SIGHUP)
        }
        #expect(try peer.ask("1Gk").status == "K")
        // Whoever reads again is told how much was lost, on a line of its own.
        try terminal.send("read")
        try terminal.wait(for: "the first lines") { $0.contains("keybrokerd: ") ? true : nil }
        try terminal.wait(for: "the number of lost lines") { text in
            daemon.signal(SIGHUP)
            return text.contains(#/\nkeybrokerd: \d+ lines could not be said/#) ? true : nil
        }
        daemon.signal(SIGKILL)
        try daemon.waitForExit()
    }

    /// Else a lock or a socket would be standard error, and lines would go into it.
    @Test func closedStreamsAreOpenedFirst() throws {
        let daemon = try daemon("0<&- 1>&- 2>&-", "")
        #expect(try PeerProcess(folder["run/broker.sock"], uid: 61002).ask("1Gk").status == "K")
        for number in 0..<3 {
            let target = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(daemon.pid)/fd/\(number)")
            #expect(target == "/dev/null")
        }
        daemon.signal(SIGTERM)
        #expect(try daemon.waitForExit() == 0)
    }
}
