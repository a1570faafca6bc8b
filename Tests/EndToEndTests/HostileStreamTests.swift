// Standard error without a reader, and a log with two writers.

import Foundation
import TestSupport
import Testing

extension HostileTests {
    @Test func aFullStandardErrorStopsNobody() throws {
        try folder.write("key", "KEY", mode: 0o600)
        let missing = (0..<300).map { "key m\($0) \(folder["none\($0)"])\n" }.joined()
        try folder.write("policy", missing + "key k \(folder["key"])\npermit 61002 key k\n")
        try folder.shell("mkfifo said")
        // The FIFO is opened for reading and writing, so that nobody reads it and it never has an end.
        let daemon = try Program(
            "/bin/sh",
            [
                "-c", "exec 2<>\(folder["said"]); exec \"$0\" \"$@\"", Program.built("keybrokerd"), "--policy",
                folder["policy"], "--socket", folder["run/broker.sock"], "--socket-mode", "0666", "--socket-group",
                "0", "--audit", folder["log/audit.jsonl"], "--user", String(Daemon.uid),
            ])
        let deadline = Date(timeIntervalSinceNow: 20)
        while !FileManager.default.fileExists(atPath: folder["log/audit.jsonl"]), Date() < deadline { usleep(10_000) }
        let peer = try PeerProcess(folder["run/broker.sock"], uid: victim)
        #expect(try peer.ask("1Gk").status == "K")
        for reloads in 1...4 {
            daemon.signal(SIGHUP)
            #expect(try peer.ask("1Gk").status == "K")
            // Signals during a reload would be one more reload together.
            func done() throws -> Int {
                try Daemon.records(in: folder["log/audit.jsonl"]).count { $0["event"] as? String == "reload" }
            }
            while try done() < reloads, Date() < deadline { usleep(10_000) }
        }
        // When somebody reads again, the daemon says how much was lost.
        let reader = try Program("/bin/cat", [folder["said"]])
        try reader.wait(for: "the first lines") { $0.count > 10_000 ? true : nil }
        daemon.signal(SIGHUP)
        try reader.wait(for: "the number of lost lines") {
            $0.contains("lines could not be said, as nobody read them") ? true : nil
        }
        daemon.signal(SIGTERM)
        #expect(try daemon.waitForExit() == 0)
        reader.signal(SIGKILL)
        try reader.waitForExit()
    }

    @Test func twoDaemonsNeverWriteOneLog() throws {
        let daemon = try daemon()
        let arguments = [
            "--policy", folder["policy"], "--socket", folder["run/second.sock"], "--socket-group", "0", "--audit",
            daemon.audit, "--user", "61910",
        ]
        func second() throws -> (status: Int32, output: String, errors: String) {
            try Program.run(Program.built("keybrokerd"), arguments)
        }
        #expect(try second().status == 75)
        // This is the moment between the rename of a rotation and its SIGHUP.
        try FileManager.default.moveItem(atPath: daemon.audit, toPath: daemon.audit + ".1")
        let refused = try second()
        #expect(refused.status == 75)
        #expect(refused.errors.contains("is in use by another keybrokerd"))
        #expect(!FileManager.default.fileExists(atPath: daemon.audit))
        _ = try daemon.reload()
        #expect(try second().status == 75)
        try expectVictimIsServed(daemon)
        try daemon.stop()
        let verified = try Program.run(
            Program.built("keybroker"), ["audit", "verify", daemon.audit, daemon.audit + ".1"])
        #expect(verified.status == 0, "\(verified.errors)")
    }
}
