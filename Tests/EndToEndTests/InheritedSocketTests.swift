// The sockets that a service manager hands over: which it may be, and which are refused.

import Foundation
import TestSupport
import Testing

@Suite(
    .serialized, .enabled(if: isRoot && UnitGroups.mount != nil, "needs root and cgroup2: the service manager is root"))
struct InheritedSocketTests {
    private let folder = TemporaryFolder("inherited")

    private func manager(_ more: String) throws -> Program {
        try folder.write("key", "KEY\n", mode: 0o600)
        try folder.write("policy", "key k \(folder["key"])\npermit unit:a.service key k\npermit 0 key k\n")
        try folder.directory("run")
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/manager.py").path
        return try Program(
            installed("python3") ?? "python3",
            [
                script, folder["run/broker.sock"], folder["run/notify"], Program.built("keybrokerd"), "--policy",
                folder["policy"], "--audit", folder["log/audit.jsonl"], "--user", "0",
            ], environment: ["MORE_SOCKETS": more])
    }

    @Test func bothSockets() throws {
        let manager = try manager("credential=stream:\(folder["run/credential"])")
        try manager.wait(for: "readiness") { $0.contains("READY=1") ? true : nil }
        let get = try Program.run(Program.built("keybroker"), ["get", "k", "--socket", folder["run/broker.sock"]])
        #expect(get.output == "KEY\n", "\(get.errors)")
        #expect(try Manager(folder["run/credential"]).load("k", for: "a.service") == "KEY\n")
        let status = try Program.run(Program.built("keybroker"), ["status", "--socket", folder["run/broker.sock"]])
        #expect(status.output.contains("credential-socket  service-manager"))
        try manager.send("stop")
        try manager.wait(for: "the end") { $0.contains("exited 0") ? true : nil }
        // Whoever comes now waits for the next daemon.
        #expect(try Manager(folder["run/credential"]).step("wait @1/unit/a.service/k -")["number"] as? Int == 0)
    }

    @Test(arguments: [
        ("other=stream:", "a stream socket named 'other'; FileDescriptorName=credential is expected"),
        ("credential=stream: credential=stream:", "3 sockets; one or two are expected"),
        ("broker=seqpacket:", "two sockets for callers"),
    ])
    func otherSockets(_ more: String, _ said: String) throws {
        let words = more.split(separator: " ").enumerated().map { "\($1)\(folder["run/\($0)"])" }
        let manager = try manager(words.joined(separator: " "))
        try manager.wait(for: said, in: .error) { $0.contains(said) ? true : nil }
        try manager.send("stop")
        try manager.wait(for: "the end") { $0.contains("exited 71") ? true : nil }
    }
}
