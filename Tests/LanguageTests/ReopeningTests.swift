// A watch that has ended goes on where what ended it passes: a broker that restarts, or a key that is just being replaced.

import Foundation
import KeyBrokerClient
import TestSupport
import Testing

@Suite struct ReopeningTests {
    private let folder = TemporaryFolder("languages-reopening")

    private func broker() throws -> Program { try Language.watchedBroker(at: folder["s"]) }

    private func stop(_ broker: Program) throws {
        broker.signal(SIGKILL)
        try broker.waitForExit()
        try folder.remove("s")
    }

    /// The example of keybroker(3), with a TLS library that prints the key.
    private func exampleOfThePage() throws -> Program {
        try folder.write("example.c", try lastExample(of: "systemd/keybroker.3"))
        try folder.write(
            "use.c",
            """
            #include <stdio.h>
            void use(const unsigned char *pem, size_t count) { printf("%.*s\\n", (int)count, pem); fflush(stdout); }

            """)
        try folder.shell("cc -std=c99 -I'\(Language.sources)/C' example.c use.c -o example")
        return try Program(folder["example"], [], environment: Language.environment(folder["s"]))
    }

    private func client(_ language: Language) throws -> Program {
        try language.start(["watch", "web-tls", "20000", "9"], socket: folder["s"])
    }

    /// Leads a client, which prints each key, through all that passes.
    private func lead(_ client: Program, from broker: Program, _ nextKey: (String) throws -> Void) throws {
        try folder.write("key1", "KEY 1")
        try folder.write("key2", "KEY 2")
        #expect(try broker.nextLine() == "1Wweb-tls")
        try broker.send("1K5 0|\(folder["key1"])")
        try nextKey("KEY 1")
        try stop(broker)
        let next = try self.broker()
        for refusal in ["1U7 file-missing", "1U8 policy-faulty", "1U0 audit-unavailable"] {
            #expect(try next.nextLine() == "1Wweb-tls", "\(client.text())\(client.text(.error))")
            try next.send(refusal)
        }
        #expect(try next.nextLine() == "1Wweb-tls")
        try next.send("1K9 0|\(folder["key2"])")
        try nextKey("KEY 2")
        // This does not pass.
        try next.send("1X7 no-rule")
        #expect(try client.waitForExit() == 77)
        #expect(client.text() + client.text(.error) != "")
        try stop(next)
    }

    @Test(arguments: Language.installedOnes) func aClientGoesOn(_ language: Language) throws {
        let broker = try broker()
        let client = try client(language)
        try lead(client, from: broker) { (key: String) throws -> Void in
            try client.wait(for: key) { (text: String) -> Bool? in
                text.contains("web-tls 1 0: \(key)\nno certificate\n") ? true : nil
            }
        }
        #expect(client.text().hasSuffix(KeyBrokerError.denied(key: "web-tls", decision: 7).description + "\n"))
    }

    @Test(.enabled(if: installed("cc") != nil, "a C compiler is needed")) func theExampleOfTheCPageGoesOn() throws {
        let broker = try broker()
        let client = try exampleOfThePage()
        try lead(client, from: broker) { (key: String) throws -> Void in #expect(try client.nextLine() == key) }
        #expect(client.text(.error) == KeyBrokerError.denied(key: "web-tls", decision: 7).description + "\n")
    }

    /// What could not be had at first is an error.
    @Test(.enabled(if: installed("cc") != nil, "a C compiler is needed")) func theExampleOfTheCPageEnds() throws {
        let broker = try broker()
        let client = try exampleOfThePage()
        #expect(try broker.nextLine() == "1Wweb-tls")
        try broker.send("1U7 file-missing")
        #expect(try client.waitForExit() == 75)
        try stop(broker)
    }

    /// Each time it is granted the key, and the audit log could have a record of that.
    @Test func aBrokerThatEndsAgainAndAgainIsAskedWithPauses() throws {
        try folder.write("key", "KEY")
        let broker = try broker()
        try broker.send("drop|1K5 0|\(folder["key"])")
        for (isPython, requests, least) in [(true, 14, 1.0), (false, 3, 2.0)] {
            let client = try isPython ? client(.python) : exampleOfThePage()
            for _ in 0..<requests { #expect(try broker.nextLine() == "1Wweb-tls") }
            client.signal(SIGKILL)
            try client.waitForExit()
            try broker.send("tell \(requests)")
            // What it had asked for until then comes first.
            var line = ""
            while !line.hasPrefix("told") { line = try broker.nextLine() }
            let seconds = try #require(line.split(separator: " ").last.flatMap { Double($0) })
            #expect(seconds >= least, "\(requests)")
        }
        try stop(broker)
    }

    /// The event loop has no reader left for a number that the next connection gets.
    @Test(.enabled(if: installed("python3") != nil, "python3 is missing"))
    func theAsyncioExampleOfPythonsReadme() throws {
        try folder.write("key1", "KEY 1")
        try folder.write("key2", "KEY 2")
        let readme = try String(contentsOfFile: Language.sources + "/Python/README.md", encoding: .utf8)
        let blocks = readme.matches(of: #/```python\n((?s:.*?))```/#).map { String($0.1) }
        let example = try #require(blocks.first { $0.contains("add_reader") })
        let script = Language.tests + "/Clients/readme.py"
        try folder.write(
            "readme.py", try String(contentsOfFile: script, encoding: .utf8).replacing("# EXAMPLE", with: example))
        for (packet, error) in [("1X7 no-rule", "DeniedError"), ("close", "NotRunningError"), ("1Z", "ProtocolError")] {
            let broker = try broker()
            let client = try Program(
                installed("python3") ?? "python3", ["-W", "error", folder["readme.py"]],
                environment: Language.environment(folder["s"]).merging(["PYTHONPATH": Language.sources + "/Python/src"])
                { $1 })
            #expect(try broker.nextLine() == "1Wweb-tls")
            try broker.send("1K5 0|\(folder["key1"])")
            #expect(try client.nextLine() == "KEY 1", "\(client.text(.error))")
            try broker.send("1K6 1|\(folder["key2"])")
            #expect(try client.nextLine() == "KEY 2")
            try broker.send(packet)
            #expect(try client.nextLine() == error)
            #expect(try client.nextLine() == "the next connection is readable")
            #expect(try client.waitForExit() == 0, "\(client.text(.error))")
            try stop(broker)
        }
    }
}
