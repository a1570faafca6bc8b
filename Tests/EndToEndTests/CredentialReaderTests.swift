// Readers of credentials that are slow, or leave, and files that change meanwhile.

import Foundation
import TestSupport
import Testing

@Suite(
    .serialized, .enabled(if: isRoot && UnitGroups.mount != nil, "needs root and cgroup2: the service manager is root"))
struct CredentialReaderTests {
    private let folder = TemporaryFolder("reader")

    private var socket: String { folder["run/credential.sock"] }

    /// Waits until the daemon has said something on standard error.
    private func said(_ daemon: Daemon, _ text: String) throws {
        try daemon.program.wait(for: text, in: .error) { $0.contains(text) ? true : nil }
    }

    /// So large that it does not fit into a socket.
    private func large(_ permits: String) throws -> Daemon {
        try folder.write("large.pem", String(repeating: "x", count: 1_000_000), mode: 0o600)
        try folder.write("web.pem", "THE KEY\n", mode: 0o600)
        return try Daemon(
            folder, policy: "key large \(folder["large.pem"])\nkey web \(folder["web.pem"])\n" + permits,
            options: ["--credential-socket", socket])
    }

    @Test func aLargeCredentialComesWhole() throws {
        let daemon = try large("permit unit:a.service key large")
        let manager = try Manager(socket)
        #expect(try manager.length("finish \(try manager.open("large", for: "a.service"))") == 1_000_000)
        let slow = try manager.open("large", for: "a.service")
        #expect(try manager.length("read \(slow) 1000") == 1000)
        #expect(try manager.length("finish \(slow)") == 999_000)
        #expect(try daemon.records().allSatisfy { $0["of"] == nil })
    }

    @Test func whoDoesNotReadHoldsItsOwnPlaceOnlyAndNotForLong() throws {
        let daemon = try large("permit unit:a.service key large web\npermit unit:b@*.service key large web")
        let manager = try Manager(socket)
        for _ in 0..<4 { _ = try manager.open("large", for: "a.service") }
        // The fifth of the same unit is refused, and other units are served.
        #expect(try manager.load("web", for: "a.service") == "")
        #expect(try daemon.records().last?["reason"] as? String == "limit-connections")
        #expect(try manager.load("web", for: "b@1.service") == "THE KEY\n")
        // Callers too.
        #expect(try Program.run(Program.built("keybroker"), ["list", "--socket", daemon.socket]).status == 0)
        // All places are taken. The next one waits for one of them.
        for unit in ["b@1.service", "b@2.service", "b@3.service"] {
            for _ in 0..<4 { _ = try manager.open("large", for: unit) }
        }
        let status = try Program.run(Program.built("keybroker"), ["status", "--socket", daemon.socket]).output
        #expect(status.contains("credentials  16"))
        let before = Date()
        #expect(try Manager(socket).load("web", for: "b@4.service") == "THE KEY\n")
        #expect(Date().timeIntervalSince(before) < 12)
        let corrections = try daemon.records().filter { $0["of"] != nil }
        #expect(!corrections.isEmpty)
        for record in corrections {
            #expect(record["reason"] as? String == "not-delivered")
            #expect(record["verb"] as? String == "credential")
            #expect((record["detail"] as? String)?.hasSuffix("it was not read in time") == true)
        }
    }

    @Test func whoLeavesEarlyWasNotGivenIt() throws {
        let daemon = try large("permit unit:a.service key large")
        let manager = try Manager(socket)
        let connection = try manager.open("large", for: "a.service")
        #expect(try manager.length("read \(connection) 1000") == 1000)
        _ = try manager.step("close \(connection)")
        try said(daemon, "large as a credential to a.service: not-delivered")
        let records = try daemon.records()
        let granted = try #require(records.first { $0["decision"] as? String == "granted" })
        #expect(records.last?["of"] as? Int == granted["seq"] as? Int)
        #expect(records.last?["decision"] as? String == "unavailable")
        let status = try Program.run(Program.built("keybroker"), ["status", "--socket", daemon.socket]).output
        #expect(!status.contains("credential granted") && status.contains("not-delivered"))
        try daemon.stop()
        let summary = try Program.run(
            Program.built("keybroker"), ["audit", "summary", "--audit", daemon.audit, "--format", "json"]
        ).output
        #expect(summary.contains(#""key":"large","user":"unit:a.service","unit":"a.service","granted":0"#))
    }

    @Test func aFileThatIsCutWhileItIsSent() throws {
        let daemon = try large("permit unit:a.service key large")
        let manager = try Manager(socket)
        let connection = try manager.open("large", for: "a.service")
        #expect(try manager.length("read \(connection) 1000") == 1000)
        try folder.shell("truncate --size 500000 \(folder["large.pem"])")
        #expect(try manager.length("finish \(connection)") < 999_000)
        try said(daemon, "became shorter while it was sent")
        #expect(try daemon.records().last?["reason"] as? String == "not-delivered")
    }

    @Test func aFileThatIsRewrittenWhileItIsSent() throws {
        let daemon = try large("permit unit:a.service key large")
        let manager = try Manager(socket)
        let connection = try manager.open("large", for: "a.service")
        #expect(try manager.length("read \(connection) 1000") == 1000)
        try folder.shell("echo more >>\(folder["large.pem"])")
        // No more is sent than was granted.
        #expect(try manager.length("finish \(connection)") == 999_000)
        try said(daemon, "a file was changed while it was sent")
        #expect(try daemon.records().last?["reason"] as? String == "not-delivered")
    }

    @Test func aStopEndsWhatIsUnread() throws {
        let daemon = try large("permit unit:a.service key large")
        let manager = try Manager(socket)
        _ = try manager.open("large", for: "a.service")
        #expect(try manager.load("large", for: "b.service") == "")
        #expect(try daemon.stop() == 0)
        let records = try daemon.records()
        #expect(records.last?["event"] as? String == "stop")
        #expect((records.dropLast().last?["detail"] as? String)?.hasSuffix("the daemon ended") == true)
    }
}
