// Callers in user namespaces, and a broker in one: who is who at the other end.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, Jail.condition) struct UserNamespaceTests {
    private let folder = TemporaryFolder("userns")
    private let python = installed("python3") ?? "python3"
    private let userns = testsFolder.appendingPathComponent("FieldTests/Peers/userns.py").path

    private func daemon(_ permits: String) throws -> Daemon {
        try folder.write("key", "THE KEY\n", mode: 0o600)
        return try Daemon(folder, policy: "key web \(folder["key"])\n\(permits)\n")
    }

    /// Asks for the key as `uid` of a user namespace.
    private func ask(
        _ daemon: Daemon, _ numbers: String, _ uid: UInt32, _ command: [String]? = nil
    ) throws -> (status: Int32, output: String, errors: String) {
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/minimal.py")
        let copy = try folder.write("minimal.py", try String(contentsOf: script, encoding: .utf8))
        return try Program.run(
            python, [userns, numbers, String(uid)] + (command ?? [python, copy, "web", daemon.socket]))
    }

    /// What it calls itself does not matter.
    @Test func aCallerInAUserNamespaceIsWhoItIsOutside() throws {
        let daemon = try daemon("permit 161001 key web\npermit 61003 key web")
        let granted = try ask(daemon, "0:100000:65536", 61001)
        #expect(granted.status == 0 && granted.output == "THE KEY\n", "\(granted)")
        for uid: UInt32 in [0, 61002] {
            #expect(try ask(daemon, "0:100000:65536", uid).errors.contains("PermissionError: decision"), "\(uid)")
        }
        // A namespace without any numbers, which anybody can make: the caller is 65534 inside, and itself outside.
        let made = try Program.run(
            installed("setpriv") ?? "setpriv",
            [
                "--reuid", "61003", "--regid", "61003", "--clear-groups", installed("unshare") ?? "unshare", "--user",
                python, folder["minimal.py"], "web", daemon.socket,
            ])
        #expect(made.status == 0 && made.output == "THE KEY\n", "\(made)")
    }

    /// The tool cannot tell root's directories from those of others there, so it does not connect, and says why.
    @Test func theToolRefusesWhereRootIsUnknownAndSaysWhy() throws {
        let daemon = try daemon("permit 161001 key web\npermit 61001 key web\npermit 65534 key web")
        let get = [Program.built("keybroker"), "get", "web", "--socket", daemon.socket]
        for (numbers, uid): (String, UInt32) in [("0:100000:65536", 61001), ("65534:61001:1", 65534)] {
            let refused = try ask(daemon, numbers, uid, get)
            #expect(refused.status == 69 && refused.output.isEmpty, "\(refused)")
            #expect(
                refused.errors.contains(
                    "/ belongs to uid 65534, which stands for every account that this user namespace does not know; "
                        + "see USER NAMESPACES in keybroker-sockets(7)"), "\(refused)")
        }
        // Where root is known, it works.
        #expect(try ask(daemon, "0:0:65000", 61001, get).output == "THE KEY\n")
    }

    @Test func aBrokerInAUserNamespaceDeniesWhomItCannotExpressAndTheRecordSaysWhy() throws {
        try folder.write("key", "THE KEY\n", mode: 0o600)
        try folder.write("policy", "key web \(folder["key"])\npermit 61001 key web\npermit 65534 key web\n")
        let program = try Program(
            python,
            [
                userns, "0:0:61010", "0", Program.built("keybrokerd"), "--policy", folder["policy"], "--socket",
                folder["run/broker.sock"], "--socket-mode", "0666", "--socket-group", "0", "--audit",
                folder["log/audit.jsonl"], "--user", "61000",
            ])
        try program.wait(for: "readiness", in: .error) { $0.contains("serves ") ? true : nil }
        #expect(try PeerProcess(folder["run/broker.sock"], uid: 61001).ask("1Gweb").contents == ["THE KEY\n"])
        for uid: UInt32 in [61033, 65534] {
            let reply = try PeerProcess(folder["run/broker.sock"], uid: uid).ask("1Gweb")
            #expect(reply.packet == "1D\(reply.decision) not permitted", "\(uid)")
            let records = try Daemon.records(in: folder["log/audit.jsonl"])
            let record = try #require(records.first { $0["seq"] as? Int == reply.decision })
            #expect(record["reason"] as? String == "overflow-uid" && record["uid"] as? Int == 65534, "\(record)")
        }
        program.signal(SIGTERM)
        #expect(try program.waitForExit() == 0)
    }
}
