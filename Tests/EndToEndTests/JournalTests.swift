// What the daemon writes to the journal, and that it never waits for it. A small journald listens at the real one's
// address, in a mount namespace of its own.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, .enabled(if: isRoot, "needs root: it mounts a /run of its own"))
struct JournalTests {
    private let folder = TemporaryFolder("journal")

    /// A daemon whose standard error is this journal.
    private final class Journaled {
        let program: Program
        let pid: Int32
        /// What has arrived and was not taken yet.
        private var waiting: [[String: Any]] = []

        init(_ folder: TemporaryFolder, policy: String) throws {
            try folder.write("policy", policy)
            let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/journal.py").path
            let (run, address) = ("/run/systemd/journal", "/run/systemd/journal/socket")
            program = try Program(
                installed("unshare") ?? "unshare",
                [
                    "--mount", "/bin/sh", "-ec", "mount -t tmpfs none /run; mkdir -p \(run); exec \"$@\"", "sh",
                    installed("python3") ?? "python3", script, address, Program.built("keybrokerd"),
                    "--policy", folder["policy"], "--socket", folder["run/broker.sock"], "--socket-mode", "0666",
                    "--audit", folder["log/audit.jsonl"], "--user", String(Daemon.uid), "--socket-group", "0",
                ])
            let first = try Self.object(try program.nextLine())
            pid = Int32(first["pid"] as? Int ?? 0)
        }

        private static func object(_ line: String) throws -> [String: Any] {
            try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
        }

        /// The next message of a kind: `entry`, `line` or `exited`.
        func next(_ kind: String) throws -> Any {
            while true {
                if let index = waiting.firstIndex(where: { $0[kind] != nil }) {
                    return try #require(waiting.remove(at: index)[kind])
                }
                waiting.append(try Self.object(try program.nextLine()))
            }
        }

        func entry() throws -> [String: String] { try #require(try next("entry") as? [String: String]) }

        func step(_ step: String) throws {
            try program.send(step)
            _ = try next("did")
        }

        /// How many entries and lines have arrived and were not taken, after everything was read.
        func drained() throws -> (entries: Int, lines: Int) {
            try step("go")
            // The journal reads in turns. After these further commands it has read everything that was waiting.
            for _ in 0..<1000 { try step("go") }
            defer { waiting = [] }
            return (waiting.count { $0["entry"] != nil }, waiting.count { $0["line"] != nil })
        }
    }

    private func policy() throws -> String {
        for key in ["key", "gone"] { try folder.write(key, "KEY", mode: 0o600) }
        return "key k \(folder["key"])\nkey gone \(folder["gone"])\npermit 61001 key k gone\n"
            + "limit 61001 requests 1000000 connections 64\n"
    }

    private var socket: String { folder["run/broker.sock"] }

    @Test func decisionsHaveFields() throws {
        let daemon = try Journaled(folder, policy: try policy())
        let ready = try daemon.entry()
        #expect(ready["MESSAGE"]?.hasPrefix("serves \(socket): 2 keys, policy ") == true)
        #expect(ready["PRIORITY"] == "6")
        #expect(ready["SYSLOG_IDENTIFIER"] == "keybrokerd")
        #expect(ready.count == 3)

        let peer = try PeerProcess(socket, uid: 61001)
        let pid = String(peer.program.pid)
        // Answers that give no key have no entry.
        #expect(try peer.ask("1L").text == "gone\nk")
        #expect(try peer.receive().text.isEmpty)
        #expect(try peer.ask("1V").status == "V")
        let granted = try peer.ask("1Gk").decision
        let unit = try Daemon.records(in: folder["log/audit.jsonl"]).last?["unit"] as? String
        let place = unit.map { " in \($0)" } ?? ""
        var expected = [
            "MESSAGE": "granted k to uid 61001\(place) (decision \(granted))", "PRIORITY": "6",
            "SYSLOG_IDENTIFIER": "keybrokerd", "KEY": "k", "PEER_UID": "61001", "PEER_PID": pid,
            "DECISION": "granted", "REASON": "permitted", "SEQ": "\(granted)",
        ]
        if let unit { expected["PEER_UNIT"] = unit }
        #expect(try daemon.entry() == expected)

        try folder.remove("gone")
        let unavailable = try peer.ask("1Ggone").decision
        let third = try daemon.entry()
        #expect(third["MESSAGE"]?.hasPrefix("unavailable: gone for uid 61001\(place): file-missing, ") == true)
        #expect(third["SEQ"] == "\(unavailable)" && third["PRIORITY"] == "4")
        let denied = try peer.ask("1Gother").decision
        let fourth = try daemon.entry()
        #expect(
            fourth["MESSAGE"] == "denied other to uid 61001\(place): unknown-key (decision \(denied))",
            "\(fourth)")
        #expect(fourth["DECISION"] == "denied" && fourth["REASON"] == "unknown-key" && fourth["KEY"] == "other")
        #expect(try peer.ask("1S").status == "D")
        let fifth = try daemon.entry()
        #expect(fifth["MESSAGE"]?.hasPrefix("denied status to uid 61001\(place): not-administrator (") == true)
        #expect(fifth["KEY"] == nil)
        #expect(try peer.ask("1Gk\u{1B}=KEY").status == "E")
        let sixth = try daemon.entry()
        #expect(sixth["MESSAGE"]?.hasPrefix("malformed: a packet for uid 61001\(place): bad-key-name (") == true)

        daemon.program.closeInput()
        try daemon.program.waitForExit()
    }

    /// After the tenth of a second, events that are alike are folded. They have no entry either.
    @Test func foldedDecisionsHaveNone() throws {
        let daemon = try Journaled(folder, policy: try policy())
        _ = try daemon.entry()
        let peer = try PeerProcess(socket, uid: 61001)
        for _ in 0..<200 { #expect(try peer.ask("1Gother").status == "D") }
        let (entries, lines) = try daemon.drained()
        let recorded = try Daemon.records(in: folder["log/audit.jsonl"]).count { $0["key"] as? String == "other" }
        #expect((10..<200).contains(recorded))
        #expect(entries + lines == recorded)
        daemon.program.closeInput()
        try daemon.program.waitForExit()
    }

    @Test func reloads() throws {
        let daemon = try Journaled(folder, policy: try policy())
        _ = try daemon.entry()
        kill(daemon.pid, SIGHUP)
        let applied = try daemon.entry()
        #expect(applied["MESSAGE"]?.hasPrefix("the policy was read anew: 2 keys, policy ") == true)
        #expect(applied["DECISION"] == "applied" && applied["PEER_UID"] == "0" && applied["PRIORITY"] == "6")
        #expect(applied["SEQ"] == "2")

        try folder.write("policy", "nonsense\u{1B}\n")
        kill(daemon.pid, SIGHUP)
        let fault = try daemon.entry()
        #expect(fault["MESSAGE"]?.hasPrefix("\(folder["policy"]):1:9: error: ") == true)
        #expect(fault["PRIORITY"] == "3" && fault["DECISION"] == nil)
        #expect(try daemon.entry()["MESSAGE"] == "nonsense?")
        #expect(try daemon.entry()["MESSAGE"] == "        ^")
        let rejected = try daemon.entry()
        #expect(rejected["MESSAGE"]?.hasPrefix("the new policy is faulty and was not taken (1 faults)") == true)
        #expect(rejected["DECISION"] == "rejected" && rejected["REASON"] == "policy-faulty")
        #expect(rejected["PRIORITY"] == "3" && rejected["SEQ"] == "3")
        daemon.program.closeInput()
        try daemon.program.waitForExit()
    }

    /// The reason why the daemon ends goes to the stream: the journal knows whose stream it is without asking the
    /// process.
    @Test func theLastWordsAreOnStandardError() throws {
        let daemon = try Journaled(folder, policy: "nonsense\n")
        #expect(try (daemon.next("line") as? String)?.hasPrefix("<3>keybrokerd: \(folder["policy"]):1:1: ") == true)
        _ = try daemon.next("line")
        _ = try daemon.next("line")
        #expect(
            try daemon.next("line") as? String
                == "<3>keybrokerd: the policy is faulty (1 faults), so nothing is served")
        #expect(try daemon.next("exited") as? Int == 78)
    }

    /// If nobody reads its messages, the daemon serves as before, and says later how many were lost.
    @Test(.disabled(if: Program.isSanitized, "a sanitizer is too slow for the requests that it takes"))
    func itWaitsForNoJournal() throws {
        let daemon = try Journaled(folder, policy: try policy())
        _ = try daemon.entry()
        try daemon.step("hold")
        let peer = try PeerProcess(socket, uid: 61001)
        let asked = 3000
        for _ in 0..<asked { #expect(try peer.ask("1Gk").status == "K") }
        // An entry is written after its answer. After the next answer, which has no entry, the last one is written or lost.
        #expect(try peer.ask("1V").status == "V")
        let (entries, lines) = try daemon.drained()
        #expect(entries > 0 && lines > 0 && entries + lines < asked)
        #expect(try peer.ask("1Gk").status == "K")
        let lost = try daemon.entry()
        #expect(lost["MESSAGE"] == "\(asked - entries - lines) lines could not be said, as nobody read them")
        #expect(try daemon.entry()["DECISION"] == "granted")
        daemon.program.closeInput()
        try daemon.program.waitForExit()
    }

    /// If nobody listens to the journal's socket, messages go to standard error. Later they go to the journal again.
    @Test func aJournalThatComesBackIsTold() throws {
        let daemon = try Journaled(folder, policy: try policy())
        _ = try daemon.entry()
        let peer = try PeerProcess(socket, uid: 61001)
        try daemon.step("leave")
        #expect(try peer.ask("1Gk").status == "K")
        #expect(try (daemon.next("line") as? String)?.hasPrefix("<6>keybrokerd: granted k to uid 61001") == true)
        try daemon.step("return")
        #expect(try peer.ask("1Gk").status == "K")
        #expect(try daemon.entry()["DECISION"] == "granted")
        daemon.program.closeInput()
        try daemon.program.waitForExit()
    }

    /// An entry costs one system call after the answer, and no file is opened for it.
    @Test func anEntryCostsOneCall() throws {
        let daemon = try Journaled(folder, policy: try policy())
        _ = try daemon.entry()
        let peer = try PeerProcess(socket, uid: 61001)
        #expect(try peer.ask("1Gk").status == "K")
        _ = try daemon.entry()
        let calls = try Trace.of(daemon.pid, until: Trace.has("sendto")) { _ = try peer.ask("1Gk") }
        let start = try #require(calls.firstIndex(of: "recvmsg"))
        let end = try #require(calls.lastIndex(of: "sendto"))
        #expect(
            calls[start...end].map { $0 == "fstat" ? "newfstatat" : $0 } == [
                "recvmsg", "ioctl", "openat", "newfstatat", "newfstatat", "write", "fdatasync", "sendmsg", "sendto",
            ])
        daemon.program.closeInput()
        try daemon.program.waitForExit()
    }

    /// There is no entry for a decision without a record. If the log cannot be written, only the message about that
    /// appears.
    @Test func whatIsNotRecordedIsNotTold() throws {
        try folder.directory("log")
        try folder.shell("mount -t tmpfs -o size=64k,mode=0755,uid=\(Daemon.uid) tiny log")
        defer { try? folder.shell("umount -l log") }
        let daemon = try Journaled(folder, policy: try policy())
        _ = try daemon.entry()
        let peer = try PeerProcess(socket, uid: 61001)
        try folder.shell("dd if=/dev/zero of=log/filler bs=1k count=100 2>/dev/null || true")
        // The rest of the file's last page still takes records.
        while try peer.ask("1Gk").status == "K" { #expect(try daemon.entry()["DECISION"] == "granted") }
        let failing = try daemon.entry()
        #expect(failing["MESSAGE"]?.hasPrefix("the audit log cannot be written: ") == true)
        #expect(failing["PRIORITY"] == "3" && failing["DECISION"] == nil)
        #expect(try peer.ask("1Gk").status == "U")
        try folder.remove("log/filler")
        let mended = try peer.ask("1Gk")
        #expect(mended.status == "K")
        #expect(
            try daemon.entry()["MESSAGE"]
                == "the audit log is written again; 2 requests were answered as unavailable meanwhile")
        #expect(try daemon.entry()["SEQ"] == "\(mended.decision)")
        daemon.program.closeInput()
        try daemon.program.waitForExit()
    }

    /// A variable that is left over from the standard error of another program has no effect.
    @Test func plainStandardErrorStaysPlain() throws {
        for value in ["1:1", "", "x", "8:\(UInt64.max)"] {
            let daemon = try Daemon(folder, policy: try policy(), environment: ["JOURNAL_STREAM": value])
            #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").status == "K")
            #expect(try daemon.reload().contains("keybrokerd: the policy was read anew: "))
            let lines = daemon.program.lines(.error)
            #expect(lines.first?.hasPrefix("keybrokerd: serves ") == true)
            #expect(lines.count == 2)
            try daemon.stop()
        }
    }
}
