// Faults of the system: no memory, no descriptors, a disk that fails, a kernel that has less, a clock that jumps. The
// table in keybrokerd(8), FAULTS, says what comes of each.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, .enabled(if: isRoot, "needs root: it becomes other accounts"))
struct FaultTests {
    private let folder = TemporaryFolder("fault")

    private func policy() throws -> String {
        try folder.write("key", "KEY", mode: 0o600)
        return "key k \(folder["key"])\npermit 61001 key k\nlimit 61001 requests 10000\n"
    }

    // MARK: System calls that fail

    /// Has system calls of the daemon fail while `body` runs.
    /// - Parameters:
    ///   - fault: as strace(1) takes it after `inject=`.
    ///   - path: only calls on this file.
    private func failing(_ daemon: Daemon, _ fault: String, on path: String? = nil, _ body: () throws -> Void) throws {
        let strace = try #require(installed("strace"))
        let call = try #require(fault.split(separator: ":").first)
        let tracer = try Program(
            strace,
            ["-p", String(daemon.pid), "-o", "/dev/null", "-e", "trace=\(call)", "-e", "inject=\(fault)"]
                + (path.map { ["-P", $0] } ?? []))
        try tracer.wait(for: "strace's attaching", in: .error) { $0.contains("attached") ? true : nil }
        defer {
            // strace may have inherited a mask that blocks other signals from the thread of the test.
            tracer.signal(SIGKILL)
            _ = try? tracer.waitForExit()
        }
        try body()
    }

    /// Who comes while the daemon makes its socket is told that nobody listens yet, and not that it may not connect.
    @Test(.enabled(if: installed("strace") != nil, "needs strace"))
    func whoComesBeforeItListensMayWait() throws {
        try folder.write("policy", try policy())
        let socket = folder["run/broker.sock"]
        // The daemon stops after it has set the group, before it sets the mode.
        let daemon = try Program(
            installed("strace") ?? "strace",
            [
                "-D", "-o", folder["trace"], "-P", socket, "-e", "inject=lchown,fchownat:signal=STOP:when=1",
                Program.built("keybrokerd"), "--policy", folder["policy"], "--socket", socket, "--socket-group", "0",
                "--audit", folder["log/audit.jsonl"], "--user", String(Daemon.uid),
            ])
        try waitUntil("the daemon stands still") {
            (try? folder.text("trace"))?.contains("stopped by SIGSTOP") == true
        }
        let early = try PeerProcess(socket, uid: 61001).step("send 1Gk")
        #expect((early["error"] as? String)?.hasPrefix("ConnectionRefusedError") == true, "\(early)")
        daemon.signal(SIGCONT)
        try daemon.wait(for: "readiness", in: .error) { $0.contains("serves ") ? true : nil }
        let attributes = try FileManager.default.attributesOfItem(atPath: socket)
        #expect(attributes[.posixPermissions] as? Int == 0o660)
        #expect(try PeerProcess(socket, uid: 61001, groups: [0]).ask("1Gk").contents == ["KEY"])
        daemon.signal(SIGTERM)
        #expect(try daemon.waitForExit() == 0)
    }

    /// Asks until the reply is a key.
    private func expectService(_ daemon: Daemon, _ fault: String) throws {
        let deadline = Date(timeIntervalSinceNow: 20)
        while Date() < deadline {
            if try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").contents == ["KEY"] { return }
            usleep(20_000)
        }
        throw Waited(description: "no key after \(fault); it said: \(daemon.program.text(.error))")
    }

    /// The disk fails, or is full. Nobody is granted anything, and the daemon goes on by itself afterwards.
    @Test(
        .enabled(if: installed("strace") != nil, "needs strace"),
        arguments: [
            "write:error=ENOSPC", "write:error=EIO", "write:error=EDQUOT", "fdatasync:error=EIO",
            "fdatasync:error=ENOSPC",
        ])
    func aDiskThatFails(_ fault: String) throws {
        let daemon = try Daemon(folder, policy: try policy())
        let (user, stranger) = (
            try PeerProcess(daemon.socket, uid: 61001), try PeerProcess(daemon.socket, uid: 61002)
        )
        #expect(try user.ask("1Gk").status == "K")
        try failing(daemon, fault, on: daemon.audit) { () throws in
            for peer in [user, stranger] { #expect(try peer.ask("1Gk").packet == "1U0 audit-unavailable") }
        }
        try expectService(daemon, fault)
        let error = try #require(fault.split(separator: "=").last)
        let said = try daemon.program.wait(for: "the end of the outage", in: .error) { text in
            text.contains("the audit log is written again; 2 requests") ? text : nil
        }
        #expect(said.contains("the audit log cannot be written: ") && said.contains("(\(error))"), "\(said)")
        #expect(try daemon.stop() == 0)
        let records = try daemon.records()
        #expect(records.compactMap { $0["seq"] as? Int } == Array(1...records.count))
        #expect(records.contains { $0["reason"] as? String == "audit-unavailable" && $0["suppressed"] as? Int == 2 })
        #expect(try Program.run(Program.built("keybroker"), ["audit", "verify", daemon.audit]).status == 0)
    }

    /// The system is short of descriptors or memory. The caller is told to come back, or waits.
    @Test(
        .enabled(if: installed("strace") != nil, "needs strace"),
        arguments: [
            "openat:error=EMFILE", "openat:error=ENFILE", "openat:error=ENOMEM", "sendmsg:error=ENOMEM:when=1",
            "sendmsg:error=ETOOMANYREFS:when=1", "sendmsg:error=ENOBUFS:when=1",
        ])
    func aShortageIsTold(_ fault: String) throws {
        let daemon = try Daemon(folder, policy: try policy())
        let user = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try user.ask("1Gk").status == "K")
        var reply: PeerReply?
        try failing(daemon, fault) { reply = try user.ask("1Gk") }
        let busy = try #require(reply)
        #expect(busy.status == "B" && busy.text == "250", "\(busy.packet)")
        let record = try daemon.record(busy.decision)
        #expect(
            record["reason"] as? String == (fault.hasPrefix("sendmsg") ? "not-delivered" : "descriptors-exhausted"))
        try expectService(daemon, fault)
        #expect(try daemon.stop() == 0)
    }

    /// A connection that cannot be taken now is taken later.
    @Test(
        .enabled(if: installed("strace") != nil, "needs strace"),
        arguments: [
            "accept4:error=EMFILE", "accept4:error=ENFILE", "accept4:error=ENOMEM", "accept4:error=ENOBUFS",
            "epoll_ctl:error=ENOMEM", "epoll_ctl:error=ENOSPC", "getsockopt:error=ENOMEM",
            "recvmsg:error=ENOMEM:when=1",
        ])
    func aConnectionThatCannotBeTaken(_ fault: String) throws {
        let daemon = try Daemon(folder, policy: try policy())
        let connected = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try connected.ask("1Gk").status == "K")
        try failing(daemon, fault) { () throws in
            let peer = try PeerProcess(daemon.socket, uid: 61002)
            _ = try peer.step("send 1Gk")
            // What becomes of it is seen in what the daemon does next.
            if !fault.hasPrefix("recvmsg") { #expect(try connected.ask("1Gk").contents == ["KEY"]) }
        }
        try expectService(daemon, fault)
        #expect(try daemon.stop() == 0)
    }

    /// The limit of descriptors is lowered while the daemon runs.
    @Test(.enabled(if: installed("prlimit") != nil && installed("setpriv") != nil, "needs prlimit and setpriv"))
    func theLimitOfDescriptorsIsLowered() throws {
        let daemon = try Daemon(folder, policy: try policy())
        let prlimit = try #require(installed("prlimit"))
        let user = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try user.ask("1Gk").status == "K")
        let limits = try String(contentsOfFile: "/proc/\(daemon.pid)/limits", encoding: .utf8)
        let line = try #require(limits.split(separator: "\n").first { $0.hasPrefix("Max open files") })
        let before = line.split(separator: " ")[3]
        // The daemon's own account may do it. Root may not everywhere.
        func limit(_ number: some StringProtocol) throws {
            let (status, _, errors) = try Program.run(
                try #require(installed("setpriv")),
                [
                    "--reuid", "\(Daemon.uid)", "--regid", "\(Daemon.uid)", "--clear-groups", prlimit, "--pid",
                    "\(daemon.pid)", "--nofile=\(number):",
                ])
            #expect(status == 0, "\(errors)")
        }
        try limit("3")
        let reply = try user.ask("1Gk")
        #expect(reply.status == "B")
        let record = try daemon.record(reply.decision)
        #expect(record["reason"] as? String == "descriptors-exhausted")
        #expect((record["detail"] as? String)?.contains("EMFILE") == true)
        try limit(before)
        try expectService(daemon, "EMFILE")
        #expect(try daemon.stop() == 0)
    }

    // MARK: A kernel that has less

    private static let noUnits =
        "the kernel does not tell the units of callers, so lines with 'unit' permit nothing"

    /// A keybrokerd on a kernel without these. See Peers/without.py.
    private func serving(without words: String, _ policy: String) throws -> Program {
        try folder.write("policy", policy)
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/without.py").path
        let program = try Program(
            installed("python3") ?? "python3",
            [
                script, words, Program.built("keybrokerd"), "--policy", folder["policy"], "--socket",
                folder["run/broker.sock"], "--audit", folder["log/audit.jsonl"], "--socket-mode", "0666", "--user",
                String(Daemon.uid), "--socket-group", "0",
            ])
        try program.wait(for: "readiness", in: .error) { $0.contains("serves ") ? true : nil }
        return program
    }

    @Test(arguments: [
        ("pidfd", "\(Self.noUnits): it has no SO_PEERPIDFD"), ("proc", "\(Self.noUnits): open /proc/self/cgroup"),
        ("landlock", "goes on without the wall landlock: landlock_create_ruleset"),
        ("seccomp", "goes on without the wall seccomp: "),
        ("inotify", "changes on the ways to keys cannot be watched"),
        ("pidfd,landlock,seccomp,inotify,proc", "goes on without the wall landlock: "),
    ])
    func itServesOnAKernelThatHasLess(_ missing: String, _ said: String) throws {
        // A unit that each process would be in, if units could be told: the kernel must not be believed half.
        let daemon = try serving(without: missing, try policy() + "permit 61002 unit * key k\n")
        #expect(daemon.text(.error).components(separatedBy: said).count == 2, "\(daemon.text(.error))")
        let reply = try PeerProcess(folder["run/broker.sock"], uid: 61001).ask("1Gk")
        #expect(reply.contents == ["KEY"])
        let record = try #require(
            try Daemon.records(in: folder["log/audit.jsonl"]).first { $0["seq"] as? Int == reply.decision })
        if missing.contains("proc") || missing.contains("pidfd") {
            #expect(record["unit"] == nil && record["comm"] == nil)
            let other = try PeerProcess(folder["run/broker.sock"], uid: 61002).ask("1Gk")
            #expect(other.text == "not permitted")
        }
        // A rotation is seen without inotify as well.
        try folder.shell("printf NEXT > new; chmod 600 new; mv new key")
        #expect(try PeerProcess(folder["run/broker.sock"], uid: 61001).ask("1Gk").contents == ["NEXT"])
        daemon.signal(SIGTERM)
        // A sanitizer needs /proc at the end.
        #expect(try daemon.waitForExit() == 0 || Program.isSanitized && missing.contains("proc"))
    }
}
