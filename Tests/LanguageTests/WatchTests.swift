// Watches of the clients in other languages, with a broker that is led step by step.

import Foundation
import KeyBrokerClient
import TestSupport
import Testing

@Suite struct WatchTests {
    private let folder = TemporaryFolder("languages-watch")

    private func broker() throws -> Program { try Language.watchedBroker(at: folder["s"]) }

    private func stop(_ broker: Program) throws {
        broker.signal(SIGKILL)
        try broker.waitForExit()
    }

    @Test(arguments: Language.installedOnes) func eachNewKeyIsGiven(_ language: Language) throws {
        for number in 1...3 {
            try folder.write("key\(number)", "KEY \(number)")
            try folder.write("crt\(number)", "CRT \(number)")
        }
        let broker = try broker()
        let client = try language.start(["watch", "web", "20000", "9"], socket: folder["s"])
        #expect(try broker.nextLine() == "1Wweb")
        try broker.send("1K5 0|\(folder["key1"])|\(folder["crt1"])")
        #expect(try client.nextLine() == "web 1 0: KEY 1")
        #expect(try client.nextLine() == "CRT 1")
        try broker.send("1K6 1|\(folder["key2"])")
        #expect(try client.nextLine() == "web 1 1: KEY 2")
        #expect(try client.nextLine() == "no certificate")

        // The broker restarts, and the key has changed meanwhile. The client is there before it is.
        try stop(broker)
        if language != .python { #expect(try client.nextLine() == "again") }
        try folder.remove("s")
        let next = try self.broker()
        #expect(try next.nextLine() == "1Wweb")
        try next.send("1K2 0|\(folder["key3"])|\(folder["crt3"])")
        #expect(try client.nextLine() == "web 1 0: KEY 3")
        #expect(try client.nextLine() == "CRT 3")

        // The same key again is no news for an iterator.
        try next.send("close")
        #expect(try next.nextLine() == "1Wweb")
        try next.send("1K3 0|\(folder["key3"])|\(folder["crt3"])")
        if language != .python {
            #expect(try client.nextLine() == "again")
            #expect(try client.nextLine() == "web 1 0: KEY 3")
            #expect(try client.nextLine() == "CRT 3")
        }
        try next.send("1X7 no-rule")
        #expect(try client.waitForExit() == 77)
        let last = KeyBrokerError.denied(key: "web", decision: 7).description
        #expect(client.text().hasSuffix(last + "\n") && client.text(.error).isEmpty)
        try stop(next)
    }

    /// What a watch that has begun takes, and no more.
    @Test(
        arguments: Language.installedOnes,
        [
            ("1K5|FILE", "the reply is to another request"), ("1K5 1", "0 descriptors came with the reply"),
            ("1L", "the reply is to another request"), ("1D5 not permitted", "not permitted (decision 5)"),
            (
                "1E5 a watch takes no more",
                "the broker did not understand the request: a watch takes no more (decision 5)"
            ),
            ("nonsense", "the reply is malformed"),
        ])
    func aWatchThatGoesWrong(_ language: Language, _ answer: (reply: String, text: String)) throws {
        let file = try folder.write("file", "KEY")
        let broker = try broker()
        let client = try language.start(["watch", "web", "0", "5"], socket: folder["s"])
        #expect(try broker.nextLine() == "1Wweb")
        try broker.send("1K4 0|\(file)")
        #expect(try client.nextLine() == "web 1 0: KEY")
        try broker.send(answer.reply.replacing("FILE", with: file))
        #expect(try client.waitForExit() != 0)
        #expect(
            client.lines().count == 3 && client.text().contains(answer.text), "\(client.text())\(client.text(.error))")
        try stop(broker)
    }
}
