// A daemon whose policy is faulty at its start, with the sockets of a service manager: nobody is served, everybody is
// told so at once, and the mended policy is taken without a restart.

import Foundation
import TestSupport
import Testing

@Suite(
    .serialized, .enabled(if: isRoot && UnitGroups.mount != nil, "needs root and cgroup2: the service manager is root"))
struct FaultyStartTests {
    private let folder = TemporaryFolder("faulty-start")
    private var socket: String { folder["run/broker.sock"] }
    private static let caller: UInt32 = 61_001

    /// Starts the daemon with this policy, or with none, and waits until it says that it is ready.
    private func manager(_ policy: String?, at path: String = "etc/policy") throws -> Program {
        try folder.directory("run")
        try folder.directory("etc")
        try folder.directory("keys")
        try folder.write("keys/key", "KEY\n", mode: 0o600)
        if let policy { try folder.write("etc/policy", policy) }
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/manager.py").path
        let manager = try Program(
            installed("python3") ?? "python3",
            [
                script, socket, folder["run/notify"], Program.built("keybrokerd"), "--policy", folder[path],
                "--audit", folder["log/audit.jsonl"], "--user", String(Daemon.uid),
            ], environment: ["MORE_SOCKETS": "credential=stream:\(folder["run/credential"])"])
        try manager.wait(for: "readiness") { $0.contains("READY=1") ? true : nil }
        try folder.setAttributes("run/broker.sock", mode: 0o666)
        return manager
    }

    private var mended: String {
        "key k \(folder["keys/key"])\npermit \(Self.caller) key k\npermit 0 key k\npermit unit:a.service key k\n"
    }

    private func tool(_ arguments: String...) throws -> (status: Int32, output: String, errors: String) {
        try Program.run(Program.built("keybroker"), arguments + ["--socket", socket])
    }

    private func records() throws -> [[String: Any]] { try Daemon.records(in: folder["log/audit.jsonl"]) }

    private func stop(_ manager: Program) throws {
        try manager.send("stop")
        try manager.wait(for: "the end") { $0.contains("exited 0") ? true : nil }
    }

    @Test func everybodyIsToldAtOnce() throws {
        let manager = try manager("key k relative\npermit 0 kee k\n")
        let fault = "\(folder["etc/policy"]):1:7: error: 'relative' is a relative path"
        #expect(manager.text().contains("STATUS=serves nobody, as the policy is faulty: \(fault)"), "\(manager.text())")
        #expect(manager.text().contains("type: keybroker reload"))
        for line in [
            fault, "policy:2:10: error: unknown word 'kee'", "keybrokerd: serves nobody, as the policy is faulty",
        ] {
            try manager.wait(for: line, in: .error) { $0.contains(line) ? true : nil }
        }

        let peer = try PeerProcess(socket, uid: Self.caller)
        for request in ["1Gk", "1Gno-such-key", "1L", "1Wk"] {
            let reply = try peer.ask(request)
            #expect(reply.packet == "1U\(reply.decision) policy-faulty", "\(request): \(reply)")
            let record = try #require(try records().first { $0["seq"] as? Int == reply.decision })
            #expect(record["decision"] as? String == "unavailable")
            #expect(record["reason"] as? String == "policy-faulty")
            #expect(record["uid"] as? Int == Int(Self.caller))
            #expect(record["policy"] == nil)
        }
        #expect(try peer.ask("1V").status == "V")
        #expect(try peer.ask("1S").status == "D")
        let get = try tool("get", "k")
        for said in [get, try tool("list")] {
            #expect(said.status == 75)
            #expect(
                said.errors.contains("keybroker: the broker's policy is faulty, so it serves nobody"), "\(said.errors)")
        }
        #expect(try Manager(folder["run/credential"]).load("k", for: "a.service") == "")
        #expect(
            try records().contains {
                $0["verb"] as? String == "credential" && $0["reason"] as? String == "policy-faulty"
                    && $0["unit"] as? String == "a.service" && $0["key"] as? String == "k"
            })
        let start = try #require(try records().first)
        #expect(start["event"] as? String == "start" && start["reason"] as? String == "policy-faulty")
        #expect((start["detail"] as? String)?.contains("faults: 2; \(fault)") == true, "\(start)")
        try stop(manager)
    }

    @Test func theStatusSaysSo() throws {
        let manager = try manager("nonsense\n")
        let text = try tool("status")
        #expect(text.status == 78)
        #expect(text.output.contains("policy       none\n             FAULTY, so nobody is served"), "\(text.output)")
        #expect(text.output.contains("policy:1:1: error: unknown statement 'nonsense'"))
        #expect(text.errors.contains("type: keybroker reload"))
        let json = try tool("status", "--format", "json")
        #expect(json.status == 78)
        #expect(json.output.contains("\"policy-state\":\"faulty\""), "\(json.output)")
        #expect(json.output.contains("\"last-reload-faults\":[\""))
        // The file of a textfile collector comes into its place.
        let metrics = try tool("status", "--format", "openmetrics")
        #expect(metrics.status == 0)
        #expect(metrics.output.contains("\nkeybroker_policy_in_force 0\n"))
        try stop(manager)
    }

    /// The directory of the key is outside of the sandbox of such a start.
    @Test func theMendedPolicyIsTakenByAReload() throws {
        let manager = try manager("nonsense\n")
        let still = try tool("reload", "--policy", folder["etc/policy"])
        #expect(still.status == 78)
        #expect(still.errors.contains("there is no old one, so nobody is served still"), "\(still.errors)")
        let rejected = try tool("reload")
        #expect(rejected.status == 78)
        #expect(rejected.errors.contains("there is no old one, so nobody is served still"), "\(rejected.errors)")
        #expect(try tool("get", "k").status == 75)

        let watcher = try PeerProcess(socket, uid: Self.caller)
        #expect(try watcher.ask("1Wk").status == "U")
        try folder.write("etc/policy", mended)
        let taken = try tool("reload")
        #expect(taken.status == 0, "\(taken.errors)")
        #expect(taken.output.hasPrefix("in force: 1 key, 3 permissions"))
        try manager.wait(for: "the new status") { $0.contains("STATUS=the policy was read anew: 1 key") ? true : nil }
        #expect(try tool("get", "k", "--wait", "20").output == "KEY\n")
        let credentials = try Manager(folder["run/credential"])
        try waitUntil("the credential is loaded") { try credentials.load("k", for: "a.service") == "KEY\n" }
        #expect(try PeerProcess(socket, uid: 61_002).ask("1Gk").status == "D")
        #expect(try watcher.askWhileBusy("1Wk").contents == ["KEY\n"])
        try folder.shell("echo NEXT >keys/next && chmod 600 keys/next && mv keys/next keys/key")
        #expect(try watcher.receive().contents == ["NEXT\n"])

        let status = try tool("status")
        #expect(status.status == 0)
        #expect(!status.output.contains("FAULTY") && status.output.contains("in force for"))
        #expect(!status.output.contains("outside of it"))
        #expect(try tool("status", "--format", "openmetrics").output.contains("\nkeybroker_policy_in_force 1\n"))
        // From here on it is a daemon as any other: a faulty policy takes nothing away.
        try folder.write("etc/policy", "nonsense\n")
        #expect(try tool("reload").errors.contains("the old one stays in force"))
        #expect(try tool("get", "k", "--wait", "20").output == "NEXT\n")
        try stop(manager)
    }

    @Test func aPolicyThatIsNotThereIsFaulty() throws {
        let manager = try manager(nil)
        #expect(manager.text().contains("\(folder["etc/policy"]) does not exist"), "\(manager.text())")
        #expect(try tool("get", "k").status == 75)
        // Nobody asks for it: it may have been a name service that was not there yet.
        try folder.write("etc/policy", mended)
        try manager.wait(for: "another try") { $0.contains("STATUS=the policy was read anew: 1 key") ? true : nil }
        #expect(try tool("get", "k", "--wait", "20").output == "KEY\n")
        let reload = try #require(try records().last { $0["event"] as? String == "reload" })
        #expect(reload["decision"] as? String == "applied" && reload["uid"] as? Int == Int(Daemon.uid))
        try stop(manager)
    }

    /// The sandbox has no room for a directory that is not there. What to type says so.
    @Test func aPolicyWithoutItsDirectoryNeedsARestart() throws {
        let manager = try manager(nil, at: "none/policy")
        #expect(
            manager.text().contains("none does not exist; correct it, and type: systemctl restart keybrokerd"),
            "\(manager.text())")
        let status = try tool("status")
        #expect(status.status == 78)
        #expect(status.output.contains("correct it, and type: systemctl restart keybrokerd\n"), "\(status.output)")
        try folder.directory("none")
        try folder.write("none/policy", mended)
        let reload = try tool("reload")
        #expect(reload.status == 78)
        #expect(
            reload.errors.contains(
                "\(folder["none/policy"]): error: its directory was not there when keybrokerd started"),
            "\(reload.errors)")
        #expect(try tool("get", "k").status == 75)
        try stop(manager)
    }

    /// One account that asks without end, with as many connections as it gets, costs another not even its answer.
    @Test func oneAccountCannotSilenceTheAnswers() throws {
        let manager = try manager("nonsense\n")
        let hostile = try (0..<4).map { _ in try PeerProcess(socket, uid: 61_002) }
        for round in 0..<200 { _ = try? hostile[round % 4].step("send 1Gk") }
        let reply = try PeerProcess(socket, uid: Self.caller).ask("1Gk")
        #expect(reply.status == "U" && reply.text == "policy-faulty", "\(reply)")
        // Their records are folded, and none of them is a grant.
        #expect(try records().count < 60)
        #expect(try records().allSatisfy { $0["decision"] as? String != "granted" })
        try stop(manager)
    }
}
