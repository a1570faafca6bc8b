// What the tools say of keys that a real daemon lends: its status, who signs with which content, and its log.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot && installed("openssl") != nil, "needs root, and openssl"))
struct LentKeyToolTests {
    private func tool(_ arguments: [String]) throws -> (status: Int32, output: String, errors: String) {
        try Program.run(Program.built("keybroker"), arguments)
    }

    @Test func theToolsKnowWhatIsLent() throws {
        let permits = "permit 61001 sign web for tls-server\npermit 61002 key web\npermit 61001 key rsa"
        let lent = try LentKeys("lent-tools", permits)
        let asking = ["--socket", lent.daemon.socket]
        let client = try lent.client(61001)
        let decision = try client.open("web").decision
        #expect(try client.sign(3) == "K")
        #expect(try client.other("a token") == "D")
        #expect(try lent.client(61002).open("web").status == "D")

        #expect(try tool(["status"] + asking).output.contains("\nsigner       running, 1 channel\n"))
        let metrics = try tool(["status", "--format", "openmetrics"] + asking).output
        #expect(metrics.contains("\nkeybroker_signer_up 1\n") && metrics.contains("\nkeybroker_channels 1\n"))

        // The channel stays with the old key.
        try lent.folder.shell(
            "openssl genpkey -quiet -algorithm ED25519 -out new && chmod 600 new && mv new keys/web")
        try waitUntil("the daemon has seen the new one") {
            try lent.status("1Rweb").contains("rotation web generation 1 settled")
        }
        let watcher = try PeerProcess(lent.daemon.socket, uid: 61002)
        #expect(try watcher.ask("1Wweb").status == "K")
        let behind = try tool(["rotation", "wait", "web", "--timeout", "100ms"] + asking)
        #expect(
            behind.status == 75 && behind.errors.contains(" signs with generation 0, the newest is 1\n"), "\(behind)")
        let held = try tool(["rotation", "status", "web"] + asking).output
        #expect(held.contains("watches\n") && held.contains("signs\n"), "\(held)")
        _ = try client.peer.step("close")
        _ = try lent.ends(1)
        #expect(try tool(["rotation", "wait", "web"] + asking).status == 0)

        let log = ["--audit", lent.daemon.audit]
        let shown = try tool(["audit", "show", "--key", "web"] + log).output
        #expect(shown.contains("policy:4: for tls-server (python3["), "\(shown)")
        #expect(
            shown.contains("ended: 3 signatures, 1 refused, 0 clones (channel-closed, decision \(decision), python3["),
            "\(shown)")
        let use = try #require(
            try tool(["audit", "summary", "--key", "web", "--user", "61001", "--format", "json"] + log).output
                .split(separator: "\n").first)
        #expect(use.contains(#""granted":0,"denied":0"#), "\(use)")
        #expect(use.contains(#""channels":1,"signatures":3,"refused":1,"open-or-unknown":0"#), "\(use)")
        // What the daemon decided, its own policy decides again.
        let same = try tool(["policy", "replay", "--policy", lent.folder["etc/policy"]] + log)
        #expect(same.status == 0 && same.output.split(separator: "\n").count == 1, "\(same)")
        let suggested = try tool(["policy", "suggest", "--policy", lent.folder["etc/policy"]] + log).output
        #expect(suggested.contains("permit 61001 sign web for tls-server\n"), "\(suggested)")
        #expect(suggested.contains("permit 61002 key web\n"), "\(suggested)")
        #expect(try tool(["audit", "verify"] + log).status == 0)
    }
}
