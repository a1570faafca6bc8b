// What a hostile account can do, tested with real accounts. A second uid measures the damage.
//
// Each of these attacks took keys from others, or filled the log, before there was a test for it.

import Foundation
import TestSupport
import Testing
import Wire

@Suite(.serialized, .enabled(if: isRoot, "needs root: it becomes other accounts"))
struct HostileTests {
    let folder = TemporaryFolder("hostile")
    let attacker: UInt32 = 61001, victim: UInt32 = 61002, stranger: UInt32 = 61003

    /// - Parameter descriptors: the limit of the daemon's file descriptors.
    func daemon(_ more: String = "", descriptors: Int? = nil, options: [String] = []) throws -> Daemon {
        try folder.write("key", "KEY", mode: 0o600)
        try folder.write("crt", "CRT")
        let policy =
            "key k \(folder["key"]) certificate \(folder["crt"])\npermit 61001 key k\npermit 61002 key k\n"
            + "limit 61002 requests 10000\n"
        // The daemon gets an account of its own, because the kernel counts descriptors in flight over all processes of
        // an account.
        return try Daemon(
            folder, policy: policy + more, options: options + ["--user", "61910"], descriptors: descriptors)
    }

    func hostile(_ daemon: Daemon, _ account: String, _ arguments: [String]) throws -> Program {
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/hostile.py").path
        return try Program(installed("python3") ?? "python3", [script, daemon.socket, account] + arguments)
    }

    func waitUntilReady(_ program: Program) throws {
        try program.wait(for: "readiness") { $0.contains("ready") ? true : nil }
    }

    /// Makes forty requests of another uid, each on a new connection.
    func expectVictimIsServed(_ daemon: Daemon, _ comment: Comment? = nil) throws {
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/ask.py").path
        let asked = try Program.run(
            installed("python3") ?? "python3", [script, daemon.socket, String(victim), "1Gk", "40"])
        #expect(asked.output == String(repeating: "K", count: 40), comment)
    }

    /// The daemon has as many file descriptors as at the start, after it has noticed that its clients are gone.
    func expectNoLeak(_ daemon: Daemon, _ before: Int, _ comment: Comment? = nil) throws {
        let deadline = Date(timeIntervalSinceNow: 10)
        while try daemon.openDescriptors() > before, Date() < deadline { usleep(10_000) }
        #expect(try daemon.openDescriptors() <= before, comment)
    }

    // MARK: Descriptors in flight

    @Test(arguments: ["both", "read-and-ask", "write-then-read", "ask-twice", "flood-and-shut", "leave"])
    func hoardedDescriptorsCostTheHoarderAlone(_ order: String) throws {
        let daemon = try daemon("limit 61001 requests 100000 connections 60\n", descriptors: 600)
        try expectVictimIsServed(daemon)
        let before = try daemon.openDescriptors()
        let hoarder = try hostile(daemon, "\(attacker)", ["hoard", "k", order, "700"])
        try waitUntilReady(hoarder)
        try expectVictimIsServed(daemon, "\(order), while it stays")
        hoarder.signal(SIGKILL)
        try hoarder.waitForExit()
        try expectVictimIsServed(daemon, "\(order), when it is gone")
        try expectNoLeak(daemon, before, "\(order)")
        #expect(try daemon.stop() == 0)
    }

    @Test func whateverAClientDoesItKeepsNothing() throws {
        let daemon = try daemon("limit 61001 requests 100000 connections 60\n", descriptors: 600)
        try expectVictimIsServed(daemon)
        let before = try daemon.openDescriptors()
        for round in 0..<4 {
            let seed =
                ProcessInfo.processInfo.environment["KEYBROKER_SEED"] ?? String(UInt32.random(in: 1...UInt32.max))
            let comment: Comment = "KEYBROKER_SEED=\(seed), round \(round)"
            let wanderer = try hostile(daemon, "\(attacker)", ["wander", "k", seed, "1500"])
            try waitUntilReady(wanderer)
            try expectVictimIsServed(daemon, comment)
            wanderer.signal(SIGKILL)
            try wanderer.waitForExit()
            try expectVictimIsServed(daemon, comment)
            try expectNoLeak(daemon, before, comment)
        }
        #expect(try daemon.stop() == 0)
        let verified = try Program.run(Program.built("keybroker"), ["audit", "verify", daemon.audit])
        #expect(verified.status == 0, "\(verified.errors)")
    }

    @Test func unreadRepliesAreABoundOfTheirOwn() throws {
        // There are enough places for all connections, but more than the limit of unread replies.
        let daemon = try daemon(
            "limit 61001 requests 100000 connections 100\n", options: ["--max-connections", "160"])
        let hoarder = try hostile(daemon, "\(attacker)", ["hoard", "k", "leave", "60"])
        try waitUntilReady(hoarder)
        // The limit of unread replies is a quarter of all places.
        let reply = try PeerProcess(daemon.socket, uid: attacker).ask("1Gk")
        #expect(reply.status == "B")
        #expect(try daemon.record(reply.decision)["reason"] as? String == "limit-unread-replies")
        #expect(try daemon.records().filter { $0["decision"] as? String == "granted" }.count == 40)
        hoarder.signal(SIGKILL)
        try hoarder.waitForExit()
        // A client that reads its replies never reaches the limit.
        let peers = try (0..<3).map { _ in try PeerProcess(daemon.socket, uid: attacker) }
        for _ in 0..<30 { for peer in peers { #expect(try peer.ask("1Gk").status == "K") } }
    }

    // MARK: Groups, places, connections

    @Test func manyGroupsCostTheOthersNothing() throws {
        let daemon = try daemon("permit :61077 key k\n")
        func resident() throws -> Int {
            let status = try String(contentsOfFile: "/proc/\(daemon.pid)/status", encoding: .utf8)
            return status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
                .flatMap { Int($0.filter(\.isNumber)) } ?? 0
        }
        try expectVictimIsServed(daemon)
        let before = try resident()
        // The first is known by one of very many groups, the second is a stranger; both connect and close. The others
        // ask.
        let attackers = try [
            hostile(daemon, "61004,65536", ["loop", "2"]), hostile(daemon, "61005,61000", ["loop", "2"]),
            hostile(daemon, "61006,65536", ["flood", "1Gk", "2"]),
            hostile(daemon, "61007,65536", ["flood", "1Gk", "2"]),
        ]
        try expectVictimIsServed(daemon)
        for attacker in attackers { try attacker.waitForExit() }
        try expectVictimIsServed(daemon)
        // A sanitizer keeps freed memory.
        #expect(try resident() - before < 8 * 1024 || Program.isSanitized, "KiB")
        // It has the key by its group, and the record names only that group.
        let records = try daemon.records().filter { $0["decision"] as? String == "granted" }
        let granted = try #require(records.first { $0["uid"] as? Int == 61006 })
        #expect(granted["groups"] as? [Int] == [61077])
        #expect(granted["other-groups"] as? Int == 65_535)
    }

    @Test(arguments: [61001, 61003]) func surplusConnectionsAreClosedAndCounted(_ flooder: Int) throws {
        let daemon = try daemon()
        let flood = try hostile(daemon, "\(flooder)", ["loop", "3"])
        try waitUntilReady(flood)
        try expectVictimIsServed(daemon, "during the flood")
        try flood.waitForExit()
        try expectVictimIsServed(daemon, "after the flood")
        #expect(try daemon.stop() == 0)
        let records = try daemon.records().filter { $0["uid"] as? Int == flooder }
        // So many were closed without a reply, and this is what the log says of them: a few records each second.
        #expect(records.compactMap { $0["suppressed"] as? Int }.reduce(0, +) > 200)
        #expect(records.count < 60)
        let verified = try Program.run(Program.built("keybroker"), ["audit", "verify", daemon.audit])
        #expect(verified.status == 0, "\(verified.errors)")
    }

    /// However many connections of a flood wait, those who are connected have a turn after some of them.
    @Test(.enabled(if: installed("strace") != nil, "needs strace"))
    func aFloodHasAFewConnectionsInATurn() throws {
        let daemon = try daemon()
        let flood = try hostile(daemon, "\(stranger)", ["loop", "60"])
        try waitUntilReady(flood)
        var most = 0
        try waitUntil("a turn has as many as it may") {
            let calls = try Trace.of(daemon.pid) { usleep(300_000) }
            let turns = calls.split(separator: "epoll_wait").map { turn in
                // Another thread closes them. Those that are refused with a reply look the same before it.
                let refused = zip(turn, zip(turn.dropFirst(), turn.dropFirst(2))).count {
                    $0 == "accept4" && $1.0 == "getsockopt" && ["accept4", "write"].contains($1.1)
                }
                return refused - turn.count { $0 == "sendmsg" }
            }
            most = max(most, turns.max() ?? 0)
            return most >= Limits.surplusPerTurn
        }
        #expect(most == Limits.surplusPerTurn)
        flood.signal(SIGKILL)
        try flood.waitForExit()
    }

    @Test func manyUsersLeavePlacesForTheKnown() throws {
        let daemon = try daemon("permit :61099 key k\n", options: ["--max-connections", "64"])
        let crowd = try hostile(daemon, "0", ["users", "62000", "40", "2"])
        try waitUntilReady(crowd)
        try expectVictimIsServed(daemon)
        // A caller that a group makes known is served as well, and so is root's status.
        #expect(try PeerProcess(daemon.socket, uid: 61010, groups: [61099]).ask("1Gk").status == "K")
        let status = try Program.run(
            Program.built("keybroker"), ["status", "--format", "json", "--socket", daemon.socket])
        try #require(status.status == 0, "\(status.errors)")
        // One more stranger finds no place, however few connections it has.
        let reply = try PeerProcess(daemon.socket, uid: stranger).receive()
        #expect(reply.status == "B")
        #expect(try daemon.record(reply.decision)["reason"] as? String == "limit-total-connections")
        crowd.closeInput()
        crowd.signal(SIGKILL)
        try crowd.waitForExit()
        let again = try PeerProcess(daemon.socket, uid: stranger)
        #expect(try again.ask("1V").status == "V")
        // It may have one connection. What the daemon keeps about it contains no group that the policy does not name.
        _ = try again.step("connect 1")
        #expect((try again.step("busy")["packet"] as? String)?.hasPrefix("1B") == true)
    }

    @Test func whoIsOverTheBoundIsTurnedAwayForItsUidAlone() throws {
        let daemon = try daemon("limit 61001 connections 1\n")
        let peer = try PeerProcess(daemon.socket, uid: attacker)
        #expect(try peer.ask("1Gk").status == "K")
        let calls = try Trace.of(daemon.pid) {
            _ = try peer.step("connect 1")
            #expect((try peer.step("busy")["packet"] as? String)?.hasPrefix("1B") == true)
        }
        #expect(calls.count { $0 == "getsockopt" } == 1)
        #expect(!calls.contains("openat"))
    }

    // MARK: The log

    @Test func nobodyFillsTheLog() throws {
        let daemon = try daemon("limit each-user requests 1000000\n")
        let before = try daemon.records().count
        let began = Date()
        let requests = ["1Gnone", "1L", "1X", "1V", "1S"]
        let flooders = try requests.map { try hostile(daemon, "\(attacker)", ["flood", $0, "3"]) }
        for flooder in flooders { try flooder.waitForExit() }
        let seconds = Int(Date().timeIntervalSince(began)) + 1
        #expect(flooders.compactMap { Int($0.text().split(separator: "\n").last ?? "") }.reduce(0, +) > 200)
        try daemon.stop()
        let records = try daemon.records().dropFirst(before)
        #expect(records.count <= 20 * (seconds + 1), "in \(seconds) s")
        // No second has more than twenty records, at whatever time it begins.
        let times = records.compactMap { ($0["time"] as? String).flatMap(Self.seconds) }
        for time in times { #expect(times.count { (time..<time + 1).contains($0) } <= 20) }
    }

    private static func seconds(_ time: String) -> Double? {
        let parts = time.dropFirst(11).dropLast().split(separator: ":").compactMap { Double($0) }
        return parts.count == 3 ? parts[0] * 3600 + parts[1] * 60 + parts[2] : nil
    }

    @Test func manyUsersTogetherDoNotFillTheLog() throws {
        let daemon = try daemon()
        let began = Date()
        let crowd = try hostile(daemon, "0", ["users", "62000", "600", "2"])
        try waitUntilReady(crowd)
        // What they said is lost if they end before it was read.
        let administrator = try PeerProcess(daemon.socket, uid: 0)
        try waitUntil("more than 1000 were answered") {
            let lines = try administrator.ask("1S").packet.split(separator: "\n").filter { $0.hasPrefix("requests ") }
            return lines.compactMap { $0.split(separator: " ").last.flatMap { Int($0) } }.reduce(0, +) > 1000
        }
        crowd.signal(SIGKILL)
        try crowd.waitForExit()
        // The first refusals of a stranger have records of their own. Then a record says that more were counted. Each asks less
        // often than would be folded for it alone, and all together more often than there are new records for them.
        var isFolded = false
        for uid in 61_500..<61_600 as Range<UInt32> where !isFolded {
            let peer = try PeerProcess(daemon.socket, uid: uid)
            let decisions = try (1..<Limits.recordsAtOnce).map { _ in try peer.ask("1Gk").decision }
            isFolded = try decisions.contains { try daemon.record($0)["reason"] as? String == "folded" }
        }
        #expect(isFolded)
        // A uid that a line names still gets records of its own.
        let named = try PeerProcess(daemon.socket, uid: victim).ask("1Gnone")
        #expect(try daemon.record(named.decision)["uid"] as? Int == Int(victim))
        try daemon.stop()
        let records = try daemon.records().filter { ($0["uid"] as? Int ?? 0) >= 62000 }
        #expect(records.count < 200 + 2 * (Int(Date().timeIntervalSince(began)) + 1))
        let suppressed = try daemon.records().compactMap { $0["suppressed"] as? Int }.reduce(0, +)
        #expect(records.count + suppressed > 1000)
    }

    @Test func aGrantThatNobodyGotIsCorrected() throws {
        let daemon = try daemon("limit 61001 requests 100000\n")
        // The daemon is stopped, so that each client has gone before it is answered.
        let count = 40
        try OtherProcess.stop(daemon.pid)
        let hasty = try hostile(daemon, "\(attacker)", ["hasty", "k", String(count)])
        try hasty.waitForExit()
        daemon.program.signal(SIGCONT)
        try expectVictimIsServed(daemon)
        let records = try daemon.records()
        let corrections = records.filter { $0["reason"] as? String == "not-delivered" }
        #expect(corrections.count == count)
        let granted = Set(
            records.filter { $0["decision"] as? String == "granted" && $0["uid"] as? Int == Int(attacker) }
                .compactMap { $0["seq"] as? Int })
        #expect(Set(corrections.compactMap { $0["of"] as? Int }) == granted)
        #expect(corrections.allSatisfy { $0["suppressed"] == nil && $0["key"] as? String == "k" })
        // They do not count as grants.
        let status = try PeerProcess(daemon.socket, uid: 0).ask("1S")
        #expect(status.packet.contains("\nrequests get granted permitted 40\n"))
        #expect(status.packet.contains("\nrequests get unavailable not-delivered \(count)\n"))
        #expect(status.packet.contains("\nkey k granted 40 denied 0 unavailable \(count) busy 0"))
        let summary = try Program.run(
            Program.built("keybroker"), ["audit", "summary", "--format", "json", "--audit", daemon.audit])
        try #require(summary.status == 0, "\(summary.errors)")
        #expect(!summary.output.contains("\"uid\":\(attacker),\"granted\":\(count)"), "\(summary.output)")
    }
}
