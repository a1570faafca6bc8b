// keybroker rotation: who has which content of a key, and when the old one may go.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: it becomes other accounts"))
struct RotationToolTests {
    private let folder = TemporaryFolder("rotationtool")

    private func daemon(watched more: [String] = []) throws -> Daemon {
        try folder.write("key", "KEY 1", mode: 0o600)
        let keys = (["a", "b", "web"] + more).map { "key \($0) \(folder["key"])\n" }
        let permits = more.map { "permit 61001 key \($0)\n" }
        return try Daemon(
            folder,
            policy: (keys + permits).joined() + "permit 61001 key web a\npermit 61002 key web\n"
                + "limit 61001 watches 60 connections 64\n")
    }

    private func rotation(_ daemon: Daemon, _ arguments: [String]) throws -> (
        status: Int32, output: String, errors: String
    ) {
        try Program.run(Program.built("keybroker"), ["rotation"] + arguments + ["--socket", daemon.socket])
    }

    @Test func theOldKeyMayGoWhenAllHaveReadTheNewOne() throws {
        let daemon = try daemon()
        #expect(try rotation(daemon, ["status"]).output == "nobody watches a key\n")
        let nobody = try rotation(daemon, ["wait", "web"])
        #expect(nobody.status == 0)
        #expect(nobody.output.hasPrefix("nobody watches 'web'; who got it at its start is listed by "))
        let (quick, slow) = (try PeerProcess(daemon.socket, uid: 61001), try PeerProcess(daemon.socket, uid: 61002))
        #expect(try quick.ask("1Wweb").status == "K")
        #expect(try slow.ask("1Wweb").status == "K")
        #expect(
            try rotation(daemon, ["wait", "web"]).output == "all 2 connections that watch 'web' have generation 0\n")
        try folder.shell("printf 'KEY 2' > new; chmod 600 new; mv new key")
        #expect(try quick.receive().contents == ["KEY 2"])
        let behind = try rotation(daemon, ["wait", "web", "--timeout", "300ms"])
        #expect(behind.status == 75)
        #expect(
            behind.errors == """
                keybroker: uid 61002 pid \(slow.program.pid) has generation 0, the newest is 1
                keybroker: 1 connection of 'web' are behind

                """)
        let rows = try rotation(daemon, ["status", "web", "--format", "json"]).output.split(separator: "\n")
        #expect(
            rows.map(String.init).sorted() == [
                #"{"key":"web","newest":1,"state":"settled","has":0,"uid":61002,"pid":\#(slow.program.pid)}"#,
                #"{"key":"web","newest":1,"state":"settled","has":1,"uid":61001,"pid":\#(quick.program.pid)}"#,
            ])
        let waiting = try Program(
            Program.built("keybroker"), ["rotation", "wait", "web", "--timeout", "20s", "--socket", daemon.socket])
        #expect(try slow.receive().contents == ["KEY 2"])
        #expect(try waiting.waitForExit() == 0)
        #expect(waiting.text() == "all 2 connections that watch 'web' have generation 1\n")
        #expect(try daemon.stop() == 0)
    }

    @Test func whatIsNotThereAndWhoMayNotAsk() throws {
        let daemon = try daemon()
        let unknown = try rotation(daemon, ["wait", "none"])
        #expect(unknown.status == 69)
        #expect(unknown.errors.contains("there is no key 'none' in the policy in force"))
        #expect(try rotation(daemon, ["status", "b"]).output.contains("b         0  settled"))
        #expect(try rotation(daemon, ["wait", "web", "--timeout", "soon"]).status == 64)
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        let refused = try peer.ask("1Rweb")
        #expect(refused.status == "D")
        #expect(try daemon.record(refused.decision)["reason"] as? String == "not-administrator")
        try folder.remove("key")
        // The key is looked at only while somebody watches it.
        #expect(try peer.ask("1Wweb").status == "U")
        #expect(try daemon.stop() == 0)
    }

    /// More connections than fit into one packet, of two keys.
    @Test func allPagesAreRead() throws {
        let daemon = try daemon()
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/watchers.py").path
        let watchers = try Program(
            installed("python3") ?? "python3", [script, daemon.socket, "61001", "web", "59"])
        _ = try watchers.wait(forLines: 1)
        let other = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try other.ask("1Wa").status == "K")
        let rows = try rotation(daemon, ["status", "--format", "json"]).output.split(separator: "\n")
        #expect(rows.count == 60)
        #expect(rows.first?.contains(#""key":"a""#) == true)
        #expect(try rotation(daemon, ["status", "web", "--format", "json"]).output.split(separator: "\n").count == 59)
        watchers.closeInput()
        try watchers.waitForExit()
        #expect(try daemon.stop() == 0)
    }

    /// A page can end anywhere, also between a key and its first holder.
    @Test func eachKeyIsListedOnceWhereverAPageEnds() throws {
        let many = (10..<50).map { "m\($0)" }
        // Each comes before all others, so that the ends of the pages move.
        let first = (10..<28).reversed().map { "k\($0)" + String(repeating: "x", count: $0) }
        let daemon = try daemon(watched: many + first)
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/watchers.py").path
        var watchers: [Program] = []
        for names in [many] + first.map({ [$0] }) {
            watchers.append(
                try Program(
                    installed("python3") ?? "python3",
                    [script, daemon.socket, "61001", names.joined(separator: ","), "1"]))
            _ = try watchers.last?.wait(forLines: 1)
            let rows = try rotation(daemon, ["status", "--format", "json"]).output.split(separator: "\n")
            #expect(rows.count == many.count + watchers.count - 1)
        }
        for program in watchers {
            program.closeInput()
            try program.waitForExit()
        }
        #expect(try daemon.stop() == 0)
    }
}
