// How long a client waits does not depend on the signals that its program gets, nor on what the program set for its sockets.

import Foundation
import TestSupport
import Testing

@Suite struct SignalTests {
    private let folder = TemporaryFolder("languages-signals")

    private func waiting(_ mode: String) throws -> Program {
        try Program(
            installed("python3") ?? "python3",
            ["-W", "error", Language.tests + "/Clients/waiting.py", mode, folder["s"]],
            environment: ["PYTHONPATH": Language.sources + "/Python/src", "PYTHONDONTWRITEBYTECODE": "1"])
    }

    /// In Python: a limit for all sockets, signals while it waits for the queue, a call that fails.
    @Test(.enabled(if: installed("python3") != nil, "python3 is missing"), arguments: ["limit", "signals", "fstat"])
    func python(_ mode: String) throws {
        let program = try waiting(mode)
        #expect(try program.waitForExit() == 0, "\(program.text(.error))")
        #expect(program.text() == "as it should be\n", "\(program.text())\(program.text(.error))")
    }

    /// It waits for the queue, and for the reply, each for ten seconds.
    @Test(.enabled(if: GoClient.isPossible && installed("python3") != nil, "go and python3 are needed"))
    func go() throws {
        let full = try waiting("full")
        #expect(try full.nextLine() == "full")
        let script = testsFolder.appendingPathComponent("ClientTests/Brokers/fake.py").path
        let silent = try Program(
            installed("python3") ?? "python3", [script, folder["silent"], String(geteuid()), "silent", "0"])
        #expect(try silent.nextLine() == "listens")
        let program = try GoClient.program.get()
        let began = ContinuousClock.now
        let clients = try ["s", "silent"].map {
            try Program(program, ["k", "-"], environment: ["KEYBROKER_SOCKET": folder[$0]])
        }
        // The runtime's own, which it sends to itself as well.
        while began.duration(to: .now) < .seconds(25), clients.contains(where: \.isRunning) {
            for client in clients where client.isRunning { client.signal(SIGURG) }
            usleep(100_000)
        }
        #expect(clients.allSatisfy { !$0.isRunning })
        for client in clients {
            client.signal(SIGKILL)
            try client.waitForExit()
        }
        #expect(clients[0].text().hasPrefix("no broker at \(folder["s"]): resource temporarily unavailable"))
        #expect(clients[1].text().hasPrefix("the broker at \(folder["silent"]) did not answer"))
    }
}
