// Waiting for a broker that comes later, is busy, has a full queue, or ends at once.

import Foundation
import KeyBrokerClient
import Synchronization
import TestSupport
import Testing

@Suite(.serialized) struct ArrivalTests {
    private let folder = TemporaryFolder("arrival")
    private var socket: String { folder["s"] }
    private var client: KeyBroker { KeyBroker(socketPath: socket) }

    /// See Brokers/turns.py.
    private func broker(_ words: [String], isFull: Bool = false) throws -> Program {
        let script = testsFolder.appendingPathComponent("ClientTests/Brokers/turns.py").path
        let broker = try Program(
            installed("python3") ?? "python3", [script] + (isFull ? ["--full"] : []) + [socket] + words)
        _ = try broker.wait(forLines: 1)
        return broker
    }

    private func end(_ broker: Program) throws {
        broker.signal(SIGKILL)
        try broker.waitForExit()
    }

    private enum Call: CaseIterable { case first, next }

    /// What a new watch of `k` gives first, in a thread of its own: the decision, or the error.
    private final class Waiting: Sendable {
        private let result = Mutex<Result<UInt64?, KeyBrokerError>?>(nil)

        init(_ call: Call, _ socket: String, waitingUpTo wait: Duration) {
            Thread.detachNewThread { [self] in
                let found = Result { () throws(KeyBrokerError) -> UInt64? in
                    var watch = try KeyBroker(socketPath: socket).watch("k")
                    switch call {
                    case .first: return try watch.first(waitingUpTo: wait).key.decision
                    case .next: return try watch.next(waitingUpTo: wait)?.key.decision
                    }
                }
                result.withLock { $0 = found }
            }
        }

        var hasEnded: Bool { result.withLock { $0 != nil } }

        func end() throws -> UInt64? {
            try waitUntil("the call returns") { hasEnded }
            return try result.withLock { $0 }?.get()
        }
    }

    @Test(arguments: Call.allCases) private func aBrokerThatStartsLaterIsWaitedFor(_ call: Call) throws {
        try folder.write("key", "KEY", mode: 0o600)
        let waiting = Waiting(call, folder["run/broker.sock"], waitingUpTo: .seconds(8))
        usleep(200_000)
        let daemon = try Daemon(folder, policy: "key k \(folder["key"])\npermit \(geteuid()) key k\n")
        #expect(try waiting.end() != nil)
        try daemon.stop()
    }

    @Test(arguments: Call.allCases) private func aBrokerThatIsBusyOnceIsWaitedFor(_ call: Call) throws {
        let broker = try broker(["1B0 100", "1K7 0"])
        #expect(try Waiting(call, socket, waitingUpTo: .seconds(5)).end() == 7)
        try end(broker)
    }

    /// The broker is there, so that a caller who does not wait for one has to wait for this.
    @Test func aFullQueueIsWaitedForAsAReplyIs() throws {
        let broker = try broker(["1K7 0"], isFull: true)
        let waiting = Waiting(.first, socket, waitingUpTo: .zero)
        usleep(400_000)
        #expect(!waiting.hasEnded)
        try broker.send("go")
        #expect(try waiting.end() == 7)
        try end(broker)
    }

    /// A program with an event loop of its own is not told that nobody answers, either.
    @Test func aFullQueueIsNoTroubleYet() throws {
        let broker = try broker(["1K7 0"], isFull: true)
        var watch = try client.watch("k")
        for _ in 0..<3 {
            #expect(try watch.advance() == nil)
            #expect(watch.trouble == nil)
            #expect(watch.wait ?? .zero <= .milliseconds(200))
        }
        #expect(try watch.next(waitingUpTo: .milliseconds(50)) == nil)
        try broker.send("go")
        #expect(try watch.next(waitingUpTo: .seconds(5))?.key.decision == 7)
        try end(broker)
    }

    @Test func aQueueThatStaysFullIsABrokerThatDoesNotAnswer() throws {
        let broker = try broker(["1K7 0"], isFull: true)
        var watch = try client.watch("k")
        let began = ContinuousClock.now
        do throws(KeyBrokerError) {
            _ = try watch.first()
            Issue.record("no error")
        } catch { #expect(error == .noAnswer(socket: socket, after: .seconds(10))) }
        #expect(began.duration(to: .now) >= .seconds(10))
        // Another call is another attempt.
        try broker.send("go")
        #expect(try watch.first().key.decision == 7)
        try end(broker)
    }

    @Test(arguments: ["key", "rotations"]) func cancellationEndsTheWaitForRoom(_ call: String) async throws {
        let broker = try broker(["1K7 0"], isFull: true)
        let client = client
        for _ in 0..<5 {
            let task = Task { () -> KeyBrokerError? in
                do throws(KeyBrokerError) {
                    if call == "key" {
                        _ = try await client.key("k")
                    } else {
                        for try await _ in client.rotations(of: "k") {}
                    }
                    return nil
                } catch { return error }
            }
            try await Task.sleep(for: .milliseconds(300))
            task.cancel()
            // On a busy machine, this task may come to its turn only when the ten seconds of the other one are over.
            let error = await task.value
            if case .noAnswer = error { continue }
            #expect(error == .cancelled)
            return try end(broker)
        }
        Issue.record("it waited for all its time")
        try end(broker)
    }

    /// Each grant is a record of the audit log.
    @Test func aBrokerThatGrantsAndEndsIsNotAskedWithoutAPause() throws {
        let broker = try broker(["1K7 0close"])
        var watch = try client.watch("k")
        #expect(try watch.next(waitingUpTo: .seconds(5)) != nil)
        #expect(try watch.next(waitingUpTo: .seconds(1)) == nil)
        // The pauses are 5, 10, 20, 40, 80, 160, 200 and 200 milliseconds, and so on.
        #expect((2...20).contains(broker.lines().count - 1), "\(broker.lines().count)")
        try end(broker)
    }
}
