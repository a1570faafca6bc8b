// Every client says the same of what goes wrong, and ends with the same status.

import Foundation
import TestSupport
import Testing

@testable import KeyBrokerClient

@Suite struct ErrorTextTests {
    private let folder = TemporaryFolder("error-text")

    private func fake(
        _ reply: String, _ descriptors: Int = 0, uid: UInt32 = geteuid(), socket: String = "s", seconds: Double = 0,
        file: String? = nil
    ) throws -> Program {
        let script = testsFolder.appendingPathComponent("ClientTests/Brokers/fake.py").path
        // A copy, because the account that it changes to may not be allowed to read the project.
        let copy = try folder.write("fake.py", String(contentsOfFile: script, encoding: .utf8))
        let broker = try Program(
            installed("python3") ?? "python3",
            [copy, folder[socket], String(uid), reply, String(descriptors), String(seconds)],
            environment: file.map { ["KEYBROKER_FAKE_FILE": $0] } ?? [:])
        _ = try broker.wait(forLines: 1)
        return broker
    }

    private func stop(_ broker: Program) throws {
        broker.signal(SIGKILL)
        try broker.waitForExit()
    }

    private func said(_ socket: String, _ body: (KeyBroker) throws(KeyBrokerError) -> Void) -> (Int32, String) {
        do throws(KeyBrokerError) {
            try body(KeyBroker(socketPath: socket))
            return (0, "nothing")
        } catch { return (error.exitStatus, error.description) }
    }

    /// Asks for a key in all languages, and compares the errors with that of the Swift library.
    private func compare(
        _ name: String = "k", socket: String, _ what: String, source: SourceLocation = #_sourceLocation
    ) throws {
        let (status, text) = said(socket) { broker throws(KeyBrokerError) in
            let key = try broker.key(name)
            _ = try key.readKey()
        }
        #expect(status != 0, "\(what)", sourceLocation: source)
        for language in Language.installedOnes {
            let (ended, output) = try language.run("get", name, "0", socket: socket)
            #expect(output == text + "\n", "\(language): \(what)", sourceLocation: source)
            #expect(ended == status, "\(language): \(what)", sourceLocation: source)
        }
    }

    @Test(arguments: [
        ("1K1", 0), ("1K1", 3), ("1K1", 4), ("1K1", 13), ("1D1 not permitted", 1), ("1L", 1), ("nonsense", 0),
        ("2K1", 1), ("1K-1", 1), ("1K", 1), ("1K18446744073709551616", 1), ("1V1", 0), ("1E5 because", 0),
        ("1K5 7", 1), ("1K5 ", 1), ("1X5 no-rule", 0), ("1La\nb", 0), ("1LA", 0), ("1Spid 1", 0),
        ("1D5 not permitted", 0), ("1D0 not permitted", 0), ("1U5 policy-faulty", 0),
        ("1D18446744073709551615 not permitted", 0), ("1D5", 0), ("1Dx not permitted", 0),
        ("1U5 file-missing", 0), ("1U0 audit-unavailable", 0), ("1U5 \u{1B}[2J", 0), ("1V\u{9B}", 0),
        ("1B5 250", 0), ("1B5 0", 0), ("1B0 1001", 0), ("1B7 60000", 0), ("1B7 99999999999", 0), ("1B7 x", 0),
        ("1E5 " + String(repeating: "x", count: 5000), 0), ("close", 0), ("1Z5 x", 0), ("1", 0),
    ])
    func ofABrokerThatLies(_ reply: String, _ descriptors: Int) throws {
        let broker = try fake(reply, descriptors)
        try compare(socket: folder["s"], "\(reply.prefix(40)) with \(descriptors)")
        try stop(broker)
    }

    @Test(arguments: [
        ("1K5", 1), ("1K5 0", 0), ("1K5 x", 1), ("1K5 0", 3), ("1X5 no-rule", 0), ("1D5 not permitted", 0),
        ("1U5 file-missing", 0), ("1E5 the verb is unknown; there are G, L, S and V", 0), ("1V1", 0), ("close", 0),
        ("nonsense", 0),
    ])
    func ofAWatchThatIsRefused(_ reply: String, _ descriptors: Int) throws {
        let broker = try fake(reply, descriptors)
        let (status, text) = said(folder["s"]) { broker throws(KeyBrokerError) in
            var watch = try broker.watch("k")
            _ = try watch.next(waitingUpTo: .seconds(1))
        }
        #expect(status != 0)
        for language in Language.installedOnes {
            let (ended, output) = try language.run("watch", "k", "0", "1", socket: folder["s"])
            #expect(output == text + "\n", "\(language)")
            #expect(ended == status, "\(language)")
        }
        try stop(broker)
    }

    @Test func ofAFileThatIsNone() throws {
        try folder.write("large", String(repeating: "x", count: (1 << 20) + 1))
        for file in ["/dev/null", folder.path, folder["large"]] {
            let broker = try fake("1K1", 1, file: file)
            try compare(socket: folder["s"], file)
            try stop(broker)
            try folder.remove("s")
        }
    }

    @Test(arguments: [
        "1La||1Lb||1Lb||1L", "1Lb\na", "1La||1Lweb...", "1La||1D5 not permitted", "1U5 policy-faulty",
        "1U0 audit-unavailable", "1La||nonsense", "1La||close...",
        "1LMANY...",
    ])
    func ofAListThatIsNone(_ reply: String) throws {
        // The largest packet that there is.
        let many = String(repeating: "k@\n", count: 370)
        let broker = try fake(reply.replacing("MANY", with: many))
        let (status, text) = said(folder["s"]) { broker throws(KeyBrokerError) in
            // Without optimisation, a million would take it too long beside other tests.
            var broker = broker
            broker.mostNames = 10_000
            _ = try broker.keys()
        }
        #expect(status != 0)
        #expect(text.contains("more than 10000 names") == reply.contains("MANY"), "\(text)")
        let expected = text.replacing("than 10000 names", with: "than 1000000 names")
        for language in Language.installedOnes {
            let (ended, output) = try language.run("list", "0", socket: folder["s"])
            #expect(output == expected + "\n", "\(language)")
            #expect(ended == status, "\(language)")
        }
        try stop(broker)
    }

    @Test(arguments: ["", "Key", "a/b", "é\u{1B}[2J", "-k", String(repeating: "a", count: 64)])
    func ofANameThatIsNone(_ name: String) throws {
        try compare(name, socket: folder["s"], name)
    }

    @Test func ofASocketThatIsNotThere() throws {
        try folder.write("file", "")
        try folder.link("loop", to: folder["loop"])
        try folder.link("there", to: ".")
        try folder.link("bin", to: "/usr/../bin")
        for socket in [
            "s", "no/s", "file/s", "file/x/s", "loop/s", "there/s", "bin/s", "./there/../s", "file",
            String(repeating: "x", count: 108), String(repeating: "x", count: 300),
        ] {
            try compare(socket: folder[socket], socket)
        }
        try compare(socket: "nowhere", "a relative path")
        try compare(socket: "", "an empty path")
        if GoClient.isPossible {
            let said = try Program.run(try GoClient.program.get(), ["k", "-"], environment: ["KEYBROKER_SOCKET": ""])
            #expect(said.output == "connect: invalid argument\n", "\(said)")
        }
    }

    /// Each takes as long as a client waits for an answer, at the same time.
    @Test func ofABrokerThatIsSilent() throws {
        let broker = try fake("silent")
        let slow = try fake("1Lk@...", socket: "slow", seconds: 1)
        var clients: [(Language, Program, String)] = []
        for language in Language.installedOnes {
            for (socket, arguments) in [("s", ["get", "k", "0"]), ("slow", ["list", "0"])] {
                clients.append((language, try language.start(arguments, socket: folder[socket]), folder[socket]))
            }
        }
        let (status, text) = said(folder["s"]) { broker throws(KeyBrokerError) in _ = try broker.key("k") }
        for (language, client, socket) in clients {
            #expect(try client.waitForExit() == status, "\(language)")
            #expect(client.text() == text.replacing(folder["s"], with: socket) + "\n", "\(language)")
        }
        try stop(broker)
        try stop(slow)
    }

    @Test(.enabled(if: isRoot, "needs root: a third account answers")) func ofAThirdAccount() throws {
        try folder.directory("sticky", mode: 0o1777)
        let broker = try fake("1K1", 1, uid: 61009, socket: "sticky/s")
        try folder.directory("theirs", owner: 61009)
        try folder.directory("unmapped", owner: 65534)
        try folder.directory("open", mode: 0o777)
        try folder.directory("group", mode: 0o775)
        try folder.shell("ln -s ../theirs open/link; ln -s open sticky/link; chown -h 61009 sticky/link")
        for socket in ["sticky/s", "theirs/s", "unmapped/s", "open/s", "group/s", "open/link/s", "sticky/link/s"] {
            try compare(socket: folder[socket], socket)
        }
        try stop(broker)
    }

    /// The account that stands for all others of a user namespace is not its own.
    @Test(.enabled(if: isRoot, "needs root: the overflow account")) func ofTheOverflowAccount() throws {
        try folder.directory("sticky", mode: 0o1777)
        let broker = try fake("1K1", 1, uid: 65534, socket: "sticky/s")
        try folder.directory("unmapped", owner: 65534)
        try folder.directory("theirs", owner: 61009)
        for language in Language.installedOnes {
            for (socket, reason) in [
                ("sticky/s", "uid 65534 listens there, neither root nor this account"),
                ("unmapped/s", "\(folder["unmapped"]) belongs to uid 65534, which stands for every account that"),
                ("theirs/s", "\(folder["theirs"]) belongs to uid 61009, not to root\n"),
            ] {
                let (status, output) = try language.run("get", "k", "0", socket: folder[socket], uid: 65534)
                #expect(status == 69 && output.contains("is not to be trusted: \(reason)"), "\(language): \(output)")
            }
        }
        try stop(broker)
    }

    /// A process without descriptors is told so by the library; the Python interpreter itself needs more.
    @Test(arguments: [4, 5]) func ofACallerWithoutDescriptors(_ limit: Int) throws {
        let broker = try fake("1K5", 2)
        for language in Language.installedOnes where language != .python {
            let command = try language.command()
            let (status, output, errors) = try Program.run(
                "/bin/sh", ["-c", "ulimit -n \(limit); exec \"$0\" get k 0", command[0]],
                environment: Language.environment(folder["s"]))
            #expect(status == 71, "\(output)\(errors)")
            #expect(output.contains("RLIMIT_NOFILE") && !output.contains("trusted"), "\(output)")
        }
        try stop(broker)
    }
}
