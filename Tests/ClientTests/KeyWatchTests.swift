// Watching a key with the library: rotations, restarts of the broker, the end of the permission, and tasks.

import Foundation
import KeyBrokerClient
import TestSupport
import Testing

@Suite(.serialized) struct KeyWatchTests {
    private let folder = TemporaryFolder("keywatch")

    private func daemon() throws -> Daemon {
        try folder.write("key", "KEY 1", mode: 0o600)
        try folder.write("crt", "CRT 1")
        return try Daemon(
            folder,
            policy: "key k \(folder["key"]) certificate \(folder["crt"])\npermit \(geteuid()) key k\n")
    }

    private func rotate(_ number: Int) throws {
        try folder.shell("printf 'KEY \(number)' > new && chmod 600 new && mv new key")
    }

    private func text(_ rotation: KeyRotation?) throws -> String? {
        guard let rotation else { return nil }
        let key = try rotation.key.readKey()
        return key.withBytes { bytes in String(decoding: bytes.indices.map { bytes[$0] }, as: UTF8.self) }
    }

    @Test func everyContentIsGivenOnce() throws {
        let daemon = try daemon()
        var watch = try KeyBroker(socketPath: daemon.socket).watch("k")
        // No answer can be there yet.
        try OtherProcess.stop(daemon.pid)
        #expect(try text(try watch.next(waitingUpTo: .zero)) == nil)
        daemon.program.signal(SIGCONT)
        #expect(try text(try watch.next(waitingUpTo: .seconds(10))) == "KEY 1")
        #expect(try watch.next(waitingUpTo: .milliseconds(20)) == nil)
        try rotate(2)
        let second = try watch.next(waitingUpTo: .seconds(10))
        #expect(second?.generation == 1)
        #expect(second?.key.hasCertificate == true)
        #expect(try text(second) == "KEY 2")
        try daemon.stop()
    }

    @Test func aRestartIsNoRotationButOneMeanwhileIs() throws {
        let daemon = try daemon()
        var watch = try KeyBroker(socketPath: daemon.socket).watch("k")
        #expect(try text(try watch.next(waitingUpTo: .seconds(10))) == "KEY 1")
        try daemon.kill()
        #expect(try watch.next(waitingUpTo: .milliseconds(50)) == nil)
        guard case .notRunning = watch.trouble else {
            throw Waited(description: "\(String(describing: watch.trouble))")
        }
        try daemon.restart()
        try waitUntil("the watch goes on") {
            let rotation = try watch.next(waitingUpTo: .milliseconds(20))
            #expect(rotation == nil)
            return watch.trouble == nil
        }
        try daemon.kill()
        try rotate(2)
        try daemon.restart()
        #expect(try text(try watch.next(waitingUpTo: .seconds(10))) == "KEY 2")
        try daemon.stop()
    }

    @Test func theEndOfThePermissionEndsTheWatch() throws {
        let daemon = try daemon()
        var watch = try KeyBroker(socketPath: daemon.socket).watch("k")
        #expect(try text(try watch.next(waitingUpTo: .seconds(10))) == "KEY 1")
        try folder.shell("sed -i /permit/d policy")
        _ = try daemon.reload()
        for _ in 0..<2 {
            do throws(KeyBrokerError) {
                _ = try watch.next(waitingUpTo: .seconds(10))
                Issue.record("no error")
            } catch {
                guard case .denied("k", _) = error else { throw Waited(description: "\(error)") }
            }
        }
        try daemon.stop()
    }

    @Test func whoMayNotHaveTheKeyIsTold() throws {
        let daemon = try daemon()
        var watch = try KeyBroker(socketPath: daemon.socket).watch("none")
        do throws(KeyBrokerError) {
            _ = try watch.next(waitingUpTo: .seconds(10))
            Issue.record("no error")
        } catch {
            guard case .denied("none", _) = error else { throw Waited(description: "\(error)") }
        }
        var absent = try KeyBroker(socketPath: folder["no.sock"]).watch("k")
        do throws(KeyBrokerError) {
            _ = try absent.next(waitingUpTo: .milliseconds(30))
            Issue.record("no error")
        } catch {
            guard case .notRunning = error else { throw Waited(description: "\(error)") }
        }
        try daemon.stop()
    }

    /// On a watch that has given the key, it is the next content, waited for as long as is told.
    @Test func theFirstContentIsWaitedForOnceMore() throws {
        let daemon = try daemon()
        var watch = try KeyBroker(socketPath: daemon.socket).watch("k")
        #expect(try text(try watch.first(waitingUpTo: .seconds(10))) == "KEY 1")
        for wait in [Duration.zero, .milliseconds(300)] {
            let began = ContinuousClock.now
            do throws(KeyBrokerError) {
                _ = try watch.first(waitingUpTo: wait)
                Issue.record("no error")
            } catch { #expect(error == .noAnswer(socket: daemon.socket, after: wait)) }
            #expect(began.duration(to: .now) >= wait)
        }
        try rotate(2)
        #expect(try text(try watch.first(waitingUpTo: .seconds(10))) == "KEY 2")
        try daemon.stop()
    }

    @Test func aTaskGetsTheContentsOneAfterTheOther() async throws {
        let daemon = try daemon()
        let broker = KeyBroker(socketPath: daemon.socket)
        var texts: [String] = []
        for try await rotation in broker.rotations(of: "k") {
            texts.append(try text(rotation) ?? "")
            if texts.count == 4 { break }
            try rotate(texts.count + 1)
        }
        #expect(texts == ["KEY 1", "KEY 2", "KEY 3", "KEY 4"])
        try daemon.stop()
    }

    @Test func cancellationEndsTheSequence() async throws {
        let daemon = try daemon()
        let broker = KeyBroker(socketPath: daemon.socket)
        let (began, isWaiting) = AsyncStream<Void>.makeStream()
        let task = Task { () -> KeyBrokerError? in
            do throws(KeyBrokerError) {
                for try await _ in broker.rotations(of: "k") { isWaiting.yield() }
                return nil
            } catch { return error }
        }
        for await _ in began { break }
        task.cancel()
        #expect(await task.value == .cancelled)
        try daemon.stop()
    }
}
