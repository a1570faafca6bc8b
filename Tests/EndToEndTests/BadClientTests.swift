// A bad client can cost a place, but never the daemon, a file descriptor, or an answer to another client.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, .enabled(if: isRoot, "needs root: it becomes other accounts"))
struct BadClientTests {
    private let folder = TemporaryFolder("bad")

    private func daemon(_ more: String = "", options: [String] = []) throws -> Daemon {
        try folder.write("key", "KEY", mode: 0o600)
        try folder.write("crt", "CRT")
        let policy = "key k \(folder["key"]) certificate \(folder["crt"])\npermit 61001 key k\npermit 61002 key k\n"
        return try Daemon(folder, policy: policy + more, options: options)
    }

    /// The daemon has no more files open than before, after it has noticed that its clients are gone.
    private func expectNoLeak(_ daemon: Daemon, _ before: Int) throws {
        let deadline = Date(timeIntervalSinceNow: 10)
        while try daemon.openDescriptors() > before {
            guard Date() < deadline else {
                let open = try OtherProcess.openFiles(of: daemon.pid)
                Issue.record("\(open.count) descriptors, \(before) before: \(open)")
                return
            }
            usleep(10_000)
        }
    }

    /// Asks once, so that the daemon remembers the paths to its two files, for each of which it keeps a file
    /// descriptor. Returns how many file descriptors it has without any client.
    private func settled(_ daemon: Daemon) throws -> Int {
        let atFirst = try daemon.openDescriptors()
        let peer = try PeerProcess(daemon.socket, uid: 61002)
        #expect(try peer.ask("1Gk").status == "K")
        return atFirst + 2
    }

    @Test(arguments: [
        ("send 1Xk", "the verb is unknown; there are C, G, L, R, S, V and W", "unknown-verb"),
        ("send 2Gk", "the protocol version is unknown; this is version 1", "unknown-version"),
        ("send 1G../../etc/shadow", "the key name is malformed", "bad-key-name"),
        ("send 1Gk\\x00", "the key name is malformed", "bad-key-name"),
        ("send \\xff\\xfe\\x00", "the protocol version is unknown; this is version 1", "unknown-version"),
        ("send 1Lk", "the verb takes nothing after it", "unexpected-rest"),
        ("empty", "the packet is empty", "packet-empty"),
        ("size 4097", "the packet is longer than 4096 bytes", "packet-too-long"),
        ("size 4096", "the key name is malformed", "bad-key-name"),
        ("size 65536", "the packet is longer than 4096 bytes", "packet-too-long"),
    ])
    func whatIsNoRequestIsSaidToBeNone(_ step: String, _ text: String, _ reason: String) throws {
        let daemon = try daemon()
        let before = try settled(daemon)
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        _ = try peer.step(step)
        let reply = try peer.receive()
        #expect(reply.packet == "1E\(reply.decision) \(text)")
        #expect(try daemon.record(reply.decision)["reason"] as? String == reason)
        // The broker has closed the connection, so this is the end and not a second answer.
        #expect(try peer.receive().packet == "")
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gk").status == "K")
        try expectNoLeak(daemon, before)
    }

    @Test func descriptorsFromAClientAreRefusedAndNotKept() throws {
        let daemon = try daemon()
        let before = try settled(daemon)
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        for _ in 0..<20 {
            let result = try peer.step("descriptors 1Gk")
            // The kernel refuses file descriptors for the broker if it can (Linux 6.16). Otherwise the broker does.
            if result["error"] == nil { #expect(try peer.receive().status == "E") }
            _ = try peer.step("close")
        }
        try expectNoLeak(daemon, before)
    }

    @Test func silentClientsCostTheirOwnSlots() throws {
        let daemon = try daemon("limit 61001 connections 50\n", options: ["--max-connections", "60"])
        let silent = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try silent.step("connect 50")["error"] == nil)
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gk").status == "K")
        // One more connection of this uid gets a busy reply without asking, with its number in the log.
        _ = try silent.step("connect 1")
        let reply = PeerReplyOf(try silent.step("busy"))
        #expect(reply.packet == "1B\(reply.decision) 250")
        let record = try daemon.record(reply.decision)
        #expect(record["event"] as? String == "limit")
        #expect(record["reason"] as? String == "limit-connections")
        // All uids together can use all places except those that are reserved for administrators.
        let others = try PeerProcess(daemon.socket, uid: 61002)
        _ = try others.step("connect 10")
        let last = PeerReplyOf(try others.step("busy"))
        #expect(try daemon.record(last.decision)["reason"] as? String == "limit-total-connections")
        #expect(try PeerProcess(daemon.socket, uid: 0).ask("1S").status == "S")
        silent.program.signal(SIGKILL)
        try silent.program.waitForExit()
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gk").status == "K")
    }

    private func PeerReplyOf(_ result: [String: Any]) -> (packet: String, decision: Int) {
        let packet = result["packet"] as? String ?? ""
        return (packet, Int(packet.dropFirst(2).prefix { $0.isNumber }) ?? -1)
    }

    @Test func whoAsksBeforeTheTimeIsNotReadFromUntilThen() throws {
        let daemon = try daemon("limit 61001 requests 1\n")
        let hasty = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try hasty.askBeyondTheRate("1Gk").status == "B")
        // The next one is not refused as well: it is answered when its time has come.
        #expect(try hasty.ask("1Gk").status == "K")
        #expect(try daemon.records().filter { $0["decision"] as? String == "busy" }.count == 1)
        // If it leaves meanwhile, its place is free at once.
        let before = try settled(daemon)
        let leaving = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try leaving.askBeyondTheRate("1Gk").status == "B")
        _ = try leaving.step("send 1Gk")
        _ = try leaving.step("close")
        try expectNoLeak(daemon, before)
    }

    @Test func aBusyReplyIsReadEvenByAClientThatAsksFirst() throws {
        let daemon = try daemon("limit 61001 connections 1\n")
        let first = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try first.ask("1Gk").status == "K")
        for _ in 0..<50 {
            let second = try first.step("connect 1")
            #expect(second["error"] == nil)
            #expect((try first.step("busy")["packet"] as? String)?.hasPrefix("1B") == true)
        }
    }

    @Test func whoDoesNotReadGetsNoSecondDescriptor() throws {
        let daemon = try daemon()
        let before = try settled(daemon)
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        _ = try peer.step("send 1Gk")
        _ = try peer.step("send 1Gk")
        let (first, second) = (try peer.receive(), try peer.receive())
        // If the broker has both requests before the client reads the first reply, it refuses the second.
        #expect(first.status == "K")
        #expect(second.status == "E" || second.status == "K")
        for _ in 0..<20 {
            let hoarder = try PeerProcess(daemon.socket, uid: 61001)
            for _ in 0..<5 { _ = try hoarder.step("send 1Gk") }
            hoarder.program.signal(SIGKILL)
            try hoarder.program.waitForExit()
        }
        peer.program.signal(SIGKILL)
        try peer.program.waitForExit()
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gk").status == "K")
        try expectNoLeak(daemon, before)
    }

    /// A client that shuts down its sending side and does not read its replies keeps its place. Otherwise it could
    /// hoard file descriptors in flight without holding a connection.
    @Test func halfClosedHoardersKeepTheirPlaces() throws {
        let daemon = try daemon("limit 61001 connections 3\n")
        let hoarders = try (0..<3).map { _ in try PeerProcess(daemon.socket, uid: 61001) }
        for hoarder in hoarders {
            _ = try hoarder.step("send 1Gk")
            _ = try hoarder.step("half-close")
        }
        // When another caller gets its answer, the daemon has seen all of that.
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gk").status == "K")
        #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").status == "B")
        #expect(try hoarders[0].receive().status == "K")
        hoarders[1].program.signal(SIGKILL)
        try hoarders[1].program.waitForExit()
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gk").status == "K")
        #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").status == "K")
        // A client that reads its reply first gets it, and then the end of the connection.
        let proper = try PeerProcess(daemon.socket, uid: 61002)
        _ = try proper.step("send 1Gk")
        _ = try proper.step("half-close")
        #expect(try proper.receive().status == "K")
    }

    /// Descriptors in flight count against the daemon's account. Even if it may have only a few, hoarders of one uid
    /// must not stop the grants of another.
    @Test func hoardersDoNotStopOthers() throws {
        try folder.write("key", "KEY", mode: 0o600)
        let policy = "key k \(folder["key"])\npermit 61001 key k\npermit 61002 key k\n"
        try folder.write("policy", policy)
        let daemon = try Program(
            "/bin/sh",
            [
                "-c", "ulimit -n 512; exec \"$0\" \"$@\"", Program.built("keybrokerd"), "--policy", folder["policy"],
                "--socket", folder["run/broker.sock"], "--socket-mode", "0666", "--socket-group", "0", "--audit",
                folder["log/audit.jsonl"], "--user", "61005",
            ])
        try daemon.wait(for: "readiness", in: .error) { $0.contains("serves ") ? true : nil }
        #expect(daemon.text(.error).contains("connections at a time, as the process may have 512 descriptors"))
        var hoarders: [PeerProcess] = []
        for _ in 0..<60 {
            let hoarder = try PeerProcess(folder["run/broker.sock"], uid: 61001)
            _ = try hoarder.step("send 1Gk")
            hoarders.append(hoarder)
        }
        #expect(try PeerProcess(folder["run/broker.sock"], uid: 61002).ask("1Gk").status == "K")
        daemon.signal(SIGTERM)
        #expect(try daemon.waitForExit() == 0)
    }

    @Test func clientsThatDieAtEachStep() throws {
        let daemon = try daemon()
        let before = try settled(daemon)
        for steps in [
            ["connect 1"], ["send 1Gk"], ["send 1Gk", "receive"], ["send 1L"], ["send 1L", "receive"], ["empty"],
        ] {
            for _ in 0..<5 {
                let peer = try PeerProcess(daemon.socket, uid: 61001)
                for step in steps { _ = try peer.step(step) }
                peer.program.signal(SIGKILL)
                try peer.program.waitForExit()
            }
        }
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gk").status == "K")
        try expectNoLeak(daemon, before)
        #expect(try daemon.stop() == 0)
    }

    @Test func requestsBeyondTheRateAreToldToWait() throws {
        let daemon = try daemon("limit 61001 requests 5\n")
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        for _ in 0..<5 { #expect(try peer.ask("1Gk").status == "K") }
        let refused = try peer.askBeyondTheRate("1Gk")
        #expect(refused.status == "B")
        #expect((1...1000).contains(Int(refused.text) ?? -1))
        #expect(try daemon.record(refused.decision)["reason"] as? String == "limit-requests")
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gk").status == "K")
    }

    @Test func aFloodOfDenialsIsFoldedAndGrantsNever() throws {
        let daemon = try daemon("limit 61003 requests 100000\nlimit 61001 requests 100000\n")
        let flooder = try PeerProcess(daemon.socket, uid: 61003)
        var numbers: Set<Int> = []
        let count = 300
        for index in 0..<count {
            let reply = try flooder.ask(index.isMultiple(of: 2) ? "1Gk" : "1Gnone")
            #expect(reply.text == "not permitted")
            numbers.insert(reply.decision)
        }
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        for _ in 0..<50 { #expect(try peer.ask("1Gk").status == "K") }
        try daemon.stop()
        let records = try daemon.records()
        #expect(records.filter { $0["decision"] as? String == "granted" }.count == 50)
        let denied = records.filter { $0["decision"] as? String == "denied" }
        let suppressed = denied.compactMap { $0["suppressed"] as? Int }.reduce(0, +)
        let single = denied.filter { $0["suppressed"] == nil }.count
        // Every denial is in the log: as a record of its own, or in a count.
        #expect(single + suppressed == count)
        #expect(single == numbers.count)
        #expect(suppressed > 0)
    }

    @Test func memoryDoesNotGrowWithClients() throws {
        let daemon = try daemon("limit 61001 requests 1000000\n")
        func resident() throws -> Int {
            let status = try String(contentsOfFile: "/proc/\(daemon.pid)/status", encoding: .utf8)
            return status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
                .flatMap { Int($0.filter(\.isNumber)) } ?? 0
        }
        func load() throws {
            let peer = try PeerProcess(daemon.socket, uid: 61001)
            for _ in 0..<1000 {
                #expect(try peer.ask("1Gk").status == "K")
                _ = try peer.step("close")
            }
        }
        try load()
        let before = try resident()
        try load()
        try load()
        // A sanitizer keeps freed memory.
        #expect(try resident() <= before + 1024 || Program.isSanitized, "KiB, \(before) before")
    }
}
