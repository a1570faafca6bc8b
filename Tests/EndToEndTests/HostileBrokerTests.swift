// The tool, against a broker that was taken over: what it says must lead to no file, no signal and no byte that
// it should not reach.

import Foundation
import TestSupport
import Testing

/// A broker of `ClientTests/Brokers/fake.py`, which runs as the account that the tests run as.
final class FakeBroker {
    let program: Program
    let socket: String

    init(
        _ folder: TemporaryFolder, _ reply: String, descriptors: Int = 0, seconds: Double = 0,
        environment: [String: String] = [:]
    ) throws {
        let script = testsFolder.appendingPathComponent("ClientTests/Brokers/fake.py").path
        socket = folder["s"]
        program = try Program(
            installed("python3") ?? "python3",
            [script, socket, String(geteuid()), reply, String(descriptors), String(seconds)], environment: environment)
        _ = try program.wait(forLines: 1)
    }

    deinit { program.signal(SIGKILL) }

    func tool(_ arguments: String..., seconds: Double = 60) throws -> (status: Int32, output: String, errors: String) {
        try Program.run(Program.built("keybroker"), arguments + ["--socket", socket], seconds: seconds)
    }
}

@Suite struct HostileBrokerTests {
    private let folder = TemporaryFolder("hostile-broker")

    private func isPrintable(_ text: String) -> Bool {
        text.utf8.allSatisfy { (0x20...0x7E).contains($0) || $0 == 0x0A }
    }

    @Test(arguments: ["1U5 \u{1B}[2J", "1E5 \u{1B}]0;x\u{7}", "1D5 \u{1B}[2J", "1V\u{1B}[2J", "1E5 \u{9B}31m"])
    func noEscapeOfABrokersReachesTheTerminal(_ reply: String) throws {
        let broker = try FakeBroker(folder, reply)
        for arguments in [["get", "web"], ["list"], ["status"], ["reload"]] {
            let (status, output, errors) = try Program.run(
                Program.built("keybroker"), arguments + ["--socket", broker.socket])
            #expect(status == 71)
            #expect(isPrintable(output + errors), "\(errors)")
            #expect(errors.contains("the reply is malformed"))
        }
    }

    @Test func noEscapeOfAFilesNameReachesTheTerminal() throws {
        let name = "a\u{1B}[2Jb.policy"
        try folder.write(name, "key k /k\npermit 0 kee k\n")
        let (status, output, errors) = try Program.run(
            Program.built("keybroker"), ["policy", "check", folder[name]])
        #expect(status == 78)
        #expect(isPrintable(output + errors), "\(errors)")
        #expect(errors.contains("a\\u{1b}[2Jb.policy:2:10: error: unknown word 'kee'"), "\(errors)")
        let missing = try Program.run(Program.built("keybroker"), ["status", "--socket", folder["\u{1B}[2J/s"]])
        #expect(missing.status == 69)
        #expect(isPrintable(missing.errors), "\(missing.errors)")
    }

    /// The tool runs as root, and the broker does not.
    @Test func noFileIsOpenedBecauseABrokerNamesIt() throws {
        let secret = try folder.write("priv.pem", "BEGIN SECRET\nkey a /a hunter2\n", mode: 0o600)
        for name in ["policy-path", "policy-path-optional", "policy-path /x\npolicy-path"] {
            let page = "1Sreloads-applied 0\nlast-reload rejected\npolicy x\n\(name) \(secret)"
            let broker = try FakeBroker(folder, page)
            let trace = folder["trace"]
            // The number of reloads never grows, so the tool is not awaited to its end.
            let program = try Program(
                installed("strace") ?? Program.built("keybroker"),
                (installed("strace") == nil
                    ? [] : ["-f", "-e", "trace=openat", "-o", trace, Program.built("keybroker")])
                    + ["reload", "--socket", broker.socket])
            try program.wait(for: "what was not checked", in: .error) { $0.contains("only itself checks") ? true : nil }
            _ = try broker.program.wait(for: "the signal") { $0.contains("hangup") ? true : nil }
            #expect(!program.text(.error).contains("SECRET") && !program.text(.error).contains("hunter2"))
            if installed("strace") != nil {
                #expect(try !folder.text("trace").contains("priv.pem"))
            }
            program.signal(SIGKILL)
            broker.program.signal(SIGKILL)
            try broker.program.waitForExit()
            try folder.shell("rm -f s trace")
        }
    }

    /// The same page again, or one that goes on for ever.
    @Test(arguments: [
        ("1Spid 1\nmore web", "not in their order"),
        ("1Spid 1\nmore k@", "more than 16384 pages|did not answer within"),
    ])
    func aStatusComesToAnEnd(_ page: String, _ said: String) throws {
        let broker = try FakeBroker(folder, page)
        let (status, _, errors) = try broker.tool("status", seconds: 40)
        #expect(status == 71 || status == 69)
        #expect(said.split(separator: "|").contains { errors.contains($0) }, "\(errors)")
    }

    /// Only who answers after its handle was opened is sent a signal.
    @Test func whoeverDidNotAnswerLastGetsNoSignal() throws {
        let script = testsFolder.appendingPathComponent("ClientTests/Brokers/relay.py").path
        let page = "1Sreloads-applied 0\nlast-reload applied\npolicy x\npolicy-path /x"
        let broker = try Program(installed("python3") ?? "python3", [script, folder["s"], page])
        _ = try broker.wait(forLines: 1)
        let (status, _, errors) = try Program.run(Program.built("keybroker"), ["reload", "--socket", folder["s"]])
        #expect(status == 71)
        #expect(errors.contains("the broker was restarted at this moment"), "\(errors)")
        #expect(broker.text() == "listens\n")
        broker.signal(SIGKILL)
        try broker.waitForExit()
    }

    @Test func anEmptyKeyIsNone() throws {
        try folder.write("empty", "")
        let broker = try FakeBroker(
            folder, "1K5", descriptors: 2, environment: ["KEYBROKER_FAKE_FILE": folder["empty"]])
        for arguments in [["get", "web"], ["get", "web", "--certificate"]] {
            let (status, output, errors) = try Program.run(
                Program.built("keybroker"), arguments + ["--socket", broker.socket])
            #expect(status == 66)
            #expect(output.isEmpty)
            #expect(
                errors == "keybroker: key 'web': the \(arguments.count > 2 ? "certificate" : "key") file is empty\n")
        }
    }

    /// The fault is the caller's, not the socket's.
    @Test(arguments: 4...5) func aCallerWithoutDescriptorsIsToldSo(_ limit: Int) throws {
        let broker = try FakeBroker(folder, "1K5", descriptors: 2)
        let (status, output, errors) = try Program.run(
            "/bin/sh",
            [
                "-c", "ulimit -n \(limit); exec \"$0\" get web --socket \"$1\"", Program.built("keybroker"),
                broker.socket,
            ])
        #expect(status == 71, "\(errors)")
        #expect(output.isEmpty)
        #expect(errors.contains("RLIMIT_NOFILE") && !errors.contains("trusted"), "\(errors)")
    }

    /// Each field once, however often a broker says it, and whatever it leaves out.
    @Test func aStatusIsJSONWhateverTheBrokerSays() throws {
        let lines = [
            "pid 1", "pid 2", "keys 3", "policy-paths x", "sandbox a", "sandbox landlock a", "x\"y \\", "- -",
            "key none", "key odd granted", "key odd granted 1 denied", "key word granted x",
            "key twice granted 1 granted 2",
            "key key key 1", "key good granted 1 denied 2", "key good granted 5 denied 6", "key  granted 1",
            "requests get granted permitted 3", "requests get granted permitted 4", "requests get granted 4",
            "requests  a b 1", "more x y",
        ]
        let broker = try FakeBroker(folder, "1S" + lines.joined(separator: "\n"))
        let (status, output, errors) = try broker.tool("status", "--format", "json")
        #expect(status == 0, "\(errors)")
        let said = try #require(
            try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any], "\(output)")
        #expect(said["pid"] as? Int == 1)
        let keys = try #require(said["keys"] as? [[String: Any]])
        #expect(keys.count == 1)
        #expect(keys.first?["granted"] as? Int == 1)
        #expect((said["requests"] as? [[String: Any]])?.map { $0["count"] as? Int } == [3])
        // What reads JSON leniently takes the last of two fields.
        for name in ["pid", "keys", "policy-paths", "sandbox", "key", "granted"] {
            #expect(output.components(separatedBy: "\"\(name)\":").count == 2, "\(name): \(output)")
        }
        // Keys with other counts than the first.
        broker.program.signal(SIGKILL)
        try broker.program.waitForExit()
        try folder.remove("s")
        let uneven = try FakeBroker(folder, "1Skey a granted 1\nkey b denied 2 granted 3\nkey c busy 4")
        #expect(try uneven.tool("status").output.contains("a    1        -       -"))
        for format in ["text", "openmetrics"] { #expect(try uneven.tool("status", "--format", format).status == 0) }
    }
}
