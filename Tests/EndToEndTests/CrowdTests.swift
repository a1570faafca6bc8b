// What those who are connected may cost those who are new. A second uid measures the damage.

import Foundation
import TestSupport
import Testing

@Suite(
    .serialized, .enabled(if: isRoot, "needs root: it becomes other accounts"),
    .enabled(if: installed("python3") != nil, "needs python3"))
struct CrowdTests {
    private let folder = TemporaryFolder("crowd")

    /// A user that may make many requests has so many waiting that they fill each turn of the loop.
    @Test func whoIsNewIsServedBesideManyRequests() throws {
        try folder.write("key", "KEY", mode: 0o600)
        let daemon = try Daemon(
            folder,
            policy: """
                key k \(folder["key"])
                permit 61001 key k
                permit 61002 key k
                limit 61001 connections 200 requests 1000000

                """)
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/crowded.py").path
        let measured = try Program.run(
            try #require(installed("python3")), [script, daemon.socket, "\(daemon.pid)", "61001", "61002"])
        #expect(measured.status == 0, "\(measured.errors)")
        let words = measured.output.split(separator: " ")
        #expect(words.first == "V")
        #expect(try #require(words.last.flatMap { Double($0.trimmingCharacters(in: .newlines)) }) > 0.5)
        #expect(try daemon.stop() == 0)
    }
}
