// What an auditor relies on: no grant without its record, whatever happens to the daemon or the disk.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, .enabled(if: isRoot, "needs root: it becomes other accounts and mounts a file system"))
struct AuditTrailTests {
    private let folder = TemporaryFolder("audit")

    private func policy() throws -> String {
        try folder.write("key", "KEY", mode: 0o600)
        return "key k \(folder["key"])\npermit 61001 key k\nlimit 61001 requests 1000000 connections 64\n"
    }

    /// Verifies numbers and chain with a program that shares no code with the product.
    private func verify(_ files: [String]) throws {
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/verify.py").path
        let (status, output, errors) = try Program.run(installed("python3") ?? "python3", [script] + files)
        #expect(status == 0, "\(output) \(errors)")
    }

    /// Clients ask as fast as they can, and the daemon is killed meanwhile, again and again. No client ever gets a key
    /// that the log does not name, and numbers and chain continue without a gap.
    @Test func noKeyWithoutARecordHoweverTheDaemonDies() throws {
        let daemon = try Daemon(folder, policy: policy())
        let notes = (0..<4).map { "note\($0)" }
        try folder.directory("notes", mode: 0o777)
        var floods: [PeerProcess] = []
        for note in notes {
            try folder.write("notes/\(note).go", "")
            let flood = try PeerProcess(daemon.socket, uid: 61001)
            try flood.program.send("flood k \(folder["notes/\(note)"])")
            floods.append(flood)
        }
        func granted() -> [Int] {
            notes.flatMap { note in
                let text = (try? folder.text("notes/\(note)")) ?? ""
                return text.split(separator: "\n").compactMap { $0.hasSuffix(" 1") ? Int($0.dropLast(2)) : nil }
            }
        }
        let kills = 40
        for _ in 0..<kills {
            let before = granted().count
            // Waits until clients were served. The kill then comes at any moment.
            let deadline = Date(timeIntervalSinceNow: 20)
            while granted().count < before + 20, Date() < deadline { usleep(1_000) }
            usleep(UInt32.random(in: 0...20_000))
            try daemon.kill()
            try daemon.restart()
        }
        for note in notes { try folder.remove("notes/\(note).go") }
        try daemon.stop()
        for flood in floods { flood.program.signal(SIGKILL) }
        let records = try daemon.records()
        let named = Set(records.filter { $0["decision"] as? String == "granted" }.compactMap { $0["seq"] as? Int })
        let got = granted()
        #expect(got.count > kills * 20)
        #expect(Set(got).count == got.count)
        #expect(Set(got).subtracting(named).isEmpty)
        #expect(records.compactMap { $0["seq"] as? Int } == Array(1...records.count))
        #expect(records.filter { $0["event"] as? String == "start" }.count == kills + 1)
        try verify([daemon.audit])
    }

    @Test func aHalfWrittenRecordIsRecoveredAndNoted() throws {
        let daemon = try Daemon(folder, policy: policy())
        #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").status == "K")
        try daemon.kill()
        let text = try folder.text("log/audit.jsonl")
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: daemon.audit))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data(#"{"seq":3,"time":"20"#.utf8))
        try handle.close()
        try daemon.restart()
        let start = try daemon.records()[2]
        #expect(start["seq"] as? Int == 3)
        let detail = start["detail"] as? String
        #expect(
            detail?.hasSuffix(#"cut off 19 bytes of a record that was never finished: {"seq":3,"time":"20"#) == true)
        #expect(try folder.text("log/audit.jsonl").hasPrefix(text))
        #expect(daemon.program.text(.error).contains("never finished"))
        try daemon.stop()
        try verify([daemon.audit])
    }

    /// If the disk is full, nothing is granted, all callers get the same answer, and the daemon recovers by itself.
    @Test func aLogThatCannotBeWrittenGrantsNothing() throws {
        try folder.directory("log")
        try folder.shell("mount -t tmpfs -o size=64k,mode=0755,uid=\(Daemon.uid) tiny log")
        defer { try? folder.shell("umount -l log") }
        let daemon = try Daemon(folder, policy: policy())
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        let stranger = try PeerProcess(daemon.socket, uid: 61002)
        #expect(try peer.ask("1Gk").status == "K")
        try folder.shell("dd if=/dev/zero of=log/filler bs=1k count=100 2>/dev/null || true")
        // The rest of the file's last page still takes records.
        var granted = 0
        var reply = try peer.ask("1Gk")
        while reply.status == "K", granted < 20 {
            granted += 1
            reply = try peer.ask("1Gk")
        }
        #expect(reply.packet == "1U0 audit-unavailable")
        #expect(reply.files.isEmpty)
        for _ in 0..<3 {
            let again = try peer.ask("1Gk")
            #expect(again.packet == "1U0 audit-unavailable" && again.files.isEmpty)
            #expect(try stranger.ask("1Gk").packet == "1U0 audit-unavailable")
            #expect(try stranger.ask("1Gnone").packet == "1U0 audit-unavailable")
        }
        try folder.remove("log/filler")
        let mended = try peer.ask("1Gk")
        #expect(mended.status == "K")
        #expect(mended.contents == ["KEY"])
        let said = try daemon.program.wait(for: "the end of the outage", in: .error) { text in
            text.contains("is written again; 10 requests were answered as unavailable meanwhile") ? text : nil
        }
        #expect(said.components(separatedBy: "cannot be written").count == 2)
        let outage = try daemon.records().first { $0["reason"] as? String == "audit-unavailable" }
        #expect(outage?["suppressed"] as? Int == 10)
        try daemon.stop()
        try verify([daemon.audit])
    }

    /// On a full disk only what the daemon wrote itself is cut off, and only if it is the end of the file.
    @Test func noRecordIsLostIfSomebodyElseWritesToTheLog() throws {
        try folder.directory("log")
        try folder.shell("mount -t tmpfs -o size=64k,mode=0755,uid=\(Daemon.uid) tiny log")
        defer { try? folder.shell("umount -l log") }
        let daemon = try Daemon(folder, policy: policy())
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try peer.ask("1Gk").status == "K")
        try folder.shell("echo note >> log/audit.jsonl")
        let evidence = try folder.text("log/audit.jsonl")
        #expect(try peer.ask("1Gk").packet == "1U0 audit-unavailable")
        try folder.shell("dd if=/dev/zero of=log/filler bs=1k count=100 2>/dev/null || true")
        #expect(try peer.ask("1Gk").packet == "1U0 audit-unavailable")
        try folder.remove("log/filler")
        #expect(try peer.ask("1Gk").packet == "1U0 audit-unavailable")
        #expect(try folder.text("log/audit.jsonl") == evidence)
        try daemon.program.wait(for: "what is to be done", in: .error) {
            $0.contains("somebody else wrote to it") && $0.contains("reload keybrokerd") ? true : nil
        }
        try folder.shell("mv log/audit.jsonl log/audit.jsonl.changed")
        _ = try daemon.reload()
        #expect(try peer.ask("1Gk").status == "K")
        try daemon.stop()
        // The numbers go on behind the last record of the evidence.
        #expect(try daemon.records().first?["seq"] as? Int == 3)
    }

    @Test func aRotatedLogGoesOn() throws {
        let daemon = try Daemon(folder, policy: policy())
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try peer.ask("1Gk").status == "K")
        try folder.shell("mv log/audit.jsonl log/audit.jsonl.1")
        // A log that is only renamed is written on.
        #expect(try peer.ask("1Gk").status == "K")
        // logrotate's `create` does the same. Nobody tells the daemon: it may be any service manager's, or nobody's.
        try folder.shell("install -o \(Daemon.uid) -m 640 /dev/null log/audit.jsonl")
        try ask(peer, until: "goes on in a new audit log", from: daemon)
        #expect(try peer.ask("1Gk").status == "K")
        try daemon.stop()
        let first = try #require(try daemon.records().first)
        #expect(
            first["previous"] as? String == (try Daemon.records(in: folder["log/audit.jsonl.1"])).last?["chain"]
                as? String)
        try verify([folder["log/audit.jsonl.1"], daemon.audit])
    }

    /// Whoever puts another file in the log's place gets no record and no say.
    @Test func aFileThatCannotBeTheLogIsNotWrittenTo() throws {
        let daemon = try Daemon(folder, policy: policy())
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        try folder.shell("mv log/audit.jsonl log/audit.jsonl.1")
        try folder.shell("install -o \(Daemon.uid) -m 666 /dev/null log/audit.jsonl")
        try ask(peer, until: "the old file is written on", from: daemon)
        #expect(try folder.text("log/audit.jsonl").isEmpty)
        try folder.shell("chmod 640 log/audit.jsonl; echo '{}' >log/audit.jsonl")
        _ = try daemon.reload()
        #expect(daemon.program.text(.error).contains("records of another log"))
        #expect(try peer.ask("1Gk").status == "K")
        // As soon as it can be the log, it is.
        try folder.shell(": >log/audit.jsonl")
        try ask(peer, until: "goes on in a new audit log", from: daemon)
        #expect(try peer.ask("1Gk").status == "K")
        try daemon.stop()
        try verify([folder["log/audit.jsonl.1"], daemon.audit])
    }

    /// Asks for the key until the daemon has said something. It always gets it.
    private func ask(_ peer: PeerProcess, until text: String, from daemon: Daemon) throws {
        let deadline = Date(timeIntervalSinceNow: 20)
        while !daemon.program.text(.error).contains(text) {
            #expect(try peer.ask("1Gk").status == "K")
            guard Date() < deadline else { throw Waited(description: "it did not say '\(text)'") }
        }
    }

    /// The calls in the steady state: accept, identify, receive, open, stat, one write and sync, send, closes.
    @Test func theSteadyStateMakesNoMoreSystemCallsThanItMust() throws {
        let daemon = try Daemon(folder, policy: policy())
        #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").status == "K")
        let peers = try (0..<2).map { _ in try PeerProcess(daemon.socket, uid: 61001) }
        // The second caller finds the way to the key, whatever other tests have mounted before the first one came.
        let traced = try Trace.of(daemon.pid, until: Trace.has("sendmsg", times: 2)) {
            for peer in peers { _ = try peer.ask("1Gk") }
        }
        // If other tests change a directory on the way, the daemon reads about it.
        let calls = traced.filter { $0 != "read" }.drop { $0 != "sendmsg" }.dropFirst()
        let start = try #require(calls.firstIndex(of: "accept4"))
        let end = try #require(calls.lastIndex(of: "sendmsg"))
        // The number of the caller's control group, whose unit is known. Kernels before 6.13 have no such numbers.
        let group = calls[start...].firstIndex(of: "ioctl").map { calls[$0 + 1] }
        let unit = group == "poll" ? ["ioctl"] : ["ioctl", "openat", "pread64", "close"]
        let made = calls[start...end]
        // No other caller waits. The request is there when the caller is accepted, or the daemon waits for it.
        #expect(made.count { $0 == "accept4" } == 2)
        #expect((1...2).contains(made.count { $0 == "recvmsg" }))
        #expect(
            made.filter { !["accept4", "recvmsg", "epoll_wait"].contains($0) }
                .map { $0 == "fstat" ? "newfstatat" : $0 } == [
                    "getsockopt", "epoll_ctl",  // uid and gid
                    "getsockopt", "getsockopt",  // groups, pidfd
                    "openat", "pread64", "close",  // comm
                ] + unit + [
                    "poll", "close",  // alive?
                    "openat", "newfstatat", "newfstatat", "write", "fdatasync", "sendmsg",  // the key; the log
                ])
    }
}
