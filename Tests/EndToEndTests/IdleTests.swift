// The end of idle connections, on which nothing is granted, and what can happen at the same moment.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: it becomes other accounts"))
struct IdleTests {
    private let folder = TemporaryFolder("idle")

    /// A request may arrive just when its connection is about to end for idleness. It is answered or not, but a key
    /// that it gets is counted until it is read. Before a fix, the place became free at once and the count never went
    /// down.
    @Test func aRequestAtTheDeadlineIsCountedAsAnyOther() throws {
        try folder.write("key", "KEY", mode: 0o600)
        let policy = "key k \(folder["key"])\npermit 61001 key k\nlimit 61001 connections 70 requests 1000\n"
        let daemon = try Daemon(folder, policy: policy, options: ["--max-connections", "160", "--user", "61911"])
        let keeper = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try keeper.ask("1Gk").status == "K")
        let before = try daemon.openDescriptors()
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/hostile.py").path
        let late = try Program(
            installed("python3") ?? "python3", [script, daemon.socket, "61001", "late", "k", "60"])
        try late.wait(for: "its connections") { $0.contains("ready") ? true : nil }
        // A `V` request from time to time does not keep a connection open, but a granted key does.
        let talker = try PeerProcess(daemon.socket, uid: 61001)
        for _ in 0..<4 {
            #expect(try talker.ask("1V").status == "V")
            #expect(try keeper.ask("1Gk").status == "K")
            Thread.sleep(forTimeInterval: 7)
        }
        #expect(try keeper.ask("1Gk").status == "K")
        try late.waitForExit(seconds: 40)
        let letters = late.text().split(separator: "\n").last ?? ""
        #expect(letters.count == 60 && letters.allSatisfy { "K-".contains($0) }, "\(letters)")
        #expect(try talker.receive().packet == "")
        // The client has read everything, so nothing counts as unread.
        for _ in 0..<50 { #expect(try keeper.ask("1Gk").status == "K") }
        let deadline = Date(timeIntervalSinceNow: 10)
        while try daemon.openDescriptors() > before, Date() < deadline { usleep(10_000) }
        #expect(try daemon.openDescriptors() <= before)
        #expect(try daemon.stop() == 0)
    }
}
