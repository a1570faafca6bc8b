// What those who are connected may cost those who are new. A second uid measures the damage.

import Foundation
import TestSupport
import Testing

@Suite(
    .serialized, .enabled(if: isRoot, "needs root: it becomes other accounts"),
    .enabled(if: installed("python3") != nil, "needs python3"))
struct CrowdTests {
    private let folder = TemporaryFolder("crowd")

    private func daemon(_ limit: String) throws -> Daemon {
        try folder.write("key", "KEY", mode: 0o600)
        return try Daemon(
            folder, policy: "key k \(folder["key"])\npermit 61001 key k\npermit 61002 key k\n\(limit)\n")
    }

    /// A user that may make many requests has so many waiting that they fill each turn of the loop.
    @Test func whoIsNewIsServedBesideManyRequests() throws {
        let daemon = try daemon("limit 61001 connections 200 requests 1000000")
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/crowded.py").path
        let measured = try Program.run(
            try #require(installed("python3")), [script, daemon.socket, "\(daemon.pid)", "61001", "61002"])
        #expect(measured.status == 0, "\(measured.errors)")
        let words = measured.output.split(separator: " ")
        #expect(words.first == "V")
        #expect(try #require(words.last.flatMap { Double($0.trimmingCharacters(in: .newlines)) }) > 0.5)
        #expect(try daemon.stop() == 0)
    }

    @Test func whoDoesNotWaitAsItIsToldIsSlowedDown() throws {
        let daemon = try daemon("limit 61001 requests 4")
        let impatient = try PeerProcess(daemon.socket, uid: 61001)
        for _ in 0..<4 { #expect(try impatient.ask("1Gk").status == "K") }
        var replies: [PeerReply] = []
        try waitUntil("it has asked before the moment that it was told") {
            // The second is not read before that moment, and is refused then: one request a second is left of four.
            replies = [try impatient.askBeyondTheRate("1Gk"), try impatient.ask("1Gk")]
            return replies[1].status == "B"
        }
        let (first, second) = (replies[0], replies[1])
        #expect(first.status == "B")
        #expect(try #require(Int(second.text)) > #require(Int(first.text)))
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gk").status == "K")
    }
}
