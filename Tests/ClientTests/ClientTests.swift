// The library with the real daemon, and with brokers that lie.

import Foundation
import TestSupport
import Testing

@testable import KeyBrokerClient

@Suite(.serialized) struct ClientTests {
    private let folder = TemporaryFolder("client")

    private func daemon(_ more: String = "") throws -> Daemon {
        try folder.write("key", "THE KEY", mode: 0o600)
        try folder.write("crt", "THE CERTIFICATE")
        let policy =
            "key k \(folder["key"]) certificate \(folder["crt"])\nkey bare \(folder["key"])\nkey gone \(folder["no"])\n"
        return try Daemon(folder, policy: policy + "permit \(geteuid()) key k bare gone\n" + more)
    }

    private func text(_ bytes: borrowing SecretBytes) -> String {
        bytes.withBytes { bytes in String(decoding: bytes.indices.map { bytes[$0] }, as: UTF8.self) }
    }

    private func failure(_ body: () throws(KeyBrokerError) -> Void) -> KeyBrokerError? {
        do {
            try body()
            return nil
        } catch { return error }
    }

    @Test func aKeyAndItsCertificate() throws {
        let daemon = try daemon()
        let broker = KeyBroker(socketPath: daemon.socket)
        let key = try broker.key("k")
        #expect(key.name == "k")
        #expect(key.hasCertificate == true)
        #expect(text(try key.readKey()) == "THE KEY")
        // Reading moves no file offset, so a second read returns the same.
        #expect(text(try key.readKey()) == "THE KEY")
        let certificate = try key.readCertificate()
        switch certificate {
        case .some(let bytes): #expect(text(bytes) == "THE CERTIFICATE")
        case .none: Issue.record("no certificate")
        }
        #expect(try daemon.record(Int(key.decision))["decision"] as? String == "granted")
        let bare = try broker.key("bare")
        #expect(bare.hasCertificate == false)
        #expect(try broker.keys() == ["bare", "gone", "k"])
        #expect(try broker.version() == "0.1.0")
    }

    @Test func descriptorsAreClosedAtTheEndAndCanBeGivenAway() throws {
        let daemon = try daemon()
        let broker = KeyBroker(socketPath: daemon.socket)
        func isOpen(_ number: Int32) -> Bool { fcntl(number, F_GETFD) != -1 }
        var number: Int32 = -1
        do {
            let key = try broker.key("k")
            number = key.withKeyDescriptor { $0 }
            #expect(isOpen(number))
            #expect(fcntl(number, F_GETFD) & FD_CLOEXEC != 0)
            #expect(key.withCertificateDescriptor { $0 } != nil)
        }
        let given = try broker.key("k").release()
        #expect(isOpen(given.key))
        let certificate = try #require(given.certificate)
        #expect(isOpen(certificate))
        #expect(close(given.key) == 0 && close(certificate) == 0)
    }

    @Test func theAsynchronousForms() async throws {
        let daemon = try daemon()
        let broker = KeyBroker(socketPath: daemon.socket)
        let key = try await broker.key("k")
        #expect(text(try key.readKey()) == "THE KEY")
        #expect(try await broker.keys().count == 3)
        #expect(try await broker.version() == "0.1.0")
        await #expect(
            throws: KeyBrokerError.invalidName(
                "No", reason: "a key name is made of a-z, 0-9, '.', '_' and '-', and begins with a letter or a digit")
        ) {
            _ = try await broker.key("No")
        }
    }

    @Test func cancellationEndsAWait() async throws {
        let broker = KeyBroker(socketPath: folder["nobody/broker.sock"])
        let task = Task {
            do throws(KeyBrokerError) {
                _ = try await broker.key("k", waitingUpTo: .seconds(600))
                return nil as KeyBrokerError?
            } catch { return error }
        }
        task.cancel()
        #expect(await task.value == .cancelled)
    }

    /// More requests wait than there are processors, and neither a further request nor the tasks wait with them.
    @Test func requestsThatWaitHoldUpNobodyElse() async throws {
        let daemon = try daemon()
        let absent = KeyBroker(socketPath: folder["nobody/broker.sock"])
        let waiting = (0..<min(32 + 4 * ProcessInfo.processInfo.activeProcessorCount, 200)).map { _ in
            Task {
                do throws(KeyBrokerError) {
                    _ = try await absent.key("k", waitingUpTo: .seconds(600))
                    return nil as KeyBrokerError?
                } catch { return error }
            }
        }
        let key = try await KeyBroker(socketPath: daemon.socket).key("k")
        #expect(text(try key.readKey()) == "THE KEY")
        for task in waiting { task.cancel() }
        // Whoever has waited for its whole time would say that there is no broker.
        for task in waiting { #expect(await task.value == .cancelled) }
    }

    @Test func whatCanGoWrongIsTyped() throws {
        let daemon = try daemon()
        let broker = KeyBroker(socketPath: daemon.socket)
        let denied = failure { () throws(KeyBrokerError) in _ = try broker.key("other") }
        guard case .denied("other", let decision) = denied else {
            throw Waited(description: "\(String(describing: denied))")
        }
        #expect(try daemon.record(Int(decision))["reason"] as? String == "unknown-key")
        #expect(denied?.exitStatus == 77)
        let gone = failure { () throws(KeyBrokerError) in _ = try broker.key("gone") }
        guard case .unavailable("gone", _, "file-missing") = gone else {
            throw Waited(description: "\(String(describing: gone))")
        }
        try folder.write("policy", try folder.text("policy") + "limit \(geteuid()) requests 1\n")
        _ = try daemon.reload()
        var busy: KeyBrokerError?
        for _ in 0..<10 where busy == nil { busy = failure { () throws(KeyBrokerError) in _ = try broker.key("k") } }
        guard case .busy(_, let delay) = busy else { throw Waited(description: "\(String(describing: busy))") }
        #expect(delay > .zero && delay <= .seconds(1))
        // If it may wait, it succeeds once the broker is there.
        #expect(text(try broker.key("k", waitingUpTo: .seconds(10)).readKey()) == "THE KEY")
        let name = failure { () throws(KeyBrokerError) in _ = try broker.key("a/b\u{1B}[2J") }
        #expect(name?.exitStatus == 64)
        #expect(name?.description.contains("\u{1B}") == false)
    }

    @Test func aBrokerThatIsNotThere() throws {
        let broker = KeyBroker(socketPath: folder["run/broker.sock"])
        let missing = failure { () throws(KeyBrokerError) in _ = try broker.key("k") }
        guard case .notRunning = missing else { throw Waited(description: "\(String(describing: missing))") }
        #expect(missing?.exitStatus == 69)
        let daemon = try daemon()
        try daemon.kill()
        let stale = failure { () throws(KeyBrokerError) in _ = try broker.key("k", waitingUpTo: .milliseconds(50)) }
        #expect(stale?.description.contains("Connection refused") == true)
    }

    @Test func aBrokerThatIsStillStartingIsWaitedFor() async throws {
        let broker = KeyBroker(socketPath: folder["run/broker.sock"])
        async let waiting: String = {
            let key = try await broker.key("k", waitingUpTo: .seconds(20))
            return text(try key.readKey())
        }()
        let daemon = try daemon()
        #expect(try await waiting == "THE KEY")
        try daemon.stop()
    }

    private func fake(
        _ socket: String, uid: UInt32 = 0, _ reply: String, _ descriptors: Int, seconds: Double = 0
    ) throws -> Program {
        let script = testsFolder.appendingPathComponent("ClientTests/Brokers/fake.py").path
        // A copy, because the account that it changes to may not be allowed to read the project.
        let copy = try folder.write("fake.py", String(contentsOfFile: script, encoding: .utf8))
        let broker = try Program(
            installed("python3") ?? "python3",
            [copy, socket, String(isRoot ? uid : geteuid()), reply, String(descriptors), String(seconds)])
        _ = try broker.wait(forLines: 1)
        return broker
    }

    @Test(arguments: [
        ("1K1", 0, "no descriptor came|0 descriptors came"), ("1K1", 3, "3 descriptors came"),
        ("1K1", 4, "4 descriptors came"),
        ("1D1 not permitted", 1, "1 descriptors came"), ("1L", 1, "1 descriptors came"), ("nonsense", 0, "malformed"),
        ("2K1", 1, "malformed"), ("1K-1", 1, "malformed"), ("1V1", 0, "another request"),

        ("1E5 because", 0, "because (decision 5)"),
    ])
    func aBrokerThatLies(_ reply: String, _ descriptors: Int, _ said: String) throws {
        let broker = try fake(folder["s"], reply, descriptors)
        let error = failure { () throws(KeyBrokerError) in _ = try KeyBroker(socketPath: folder["s"]).key("k") }
        guard case .protocolViolation(let what) = error else {
            throw Waited(description: "\(String(describing: error))")
        }
        #expect(said.split(separator: "|").contains { what.contains($0) }, "\(what)")
        broker.signal(SIGKILL)
        try broker.waitForExit()
        // All descriptors that came with the replies were closed.
        let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap {
            try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")
        }
        #expect(!open.contains(folder["fake.py"]))
    }

    /// `@` stands for a number that grows.
    @Test(arguments: [
        ("1La||1Lb||1Lb||1L", "not in their order"), ("1Lb\na", "not in their order"), ("1La||1Lweb...", "order"),
        ("1LMANY...", "more than 10000 names"),
        ("1La||1D5 not permitted", "another request|not permitted"), ("1La||nonsense", "malformed"),
    ])
    func aListThatIsNone(_ reply: String, _ said: String) throws {
        let many = String(repeating: "k@\n", count: 250)
        let broker = try fake(folder["s"], reply.replacing("MANY", with: many), 0)
        var client = KeyBroker(socketPath: folder["s"])
        #expect(client.mostNames == 1_000_000)
        client.mostNames = 10_000
        let error = failure { () throws(KeyBrokerError) in _ = try client.keys() }
        let text = error?.description ?? "none"
        #expect(said.split(separator: "|").contains { text.contains($0) }, "\(text)")
        broker.signal(SIGKILL)
        try broker.waitForExit()
    }

    /// Each packet arrives in time, but the last one never comes.
    @Test func aSlowListEndsAsASilentBrokerDoes() throws {
        let broker = try fake(folder["s"], "1Lk@...", 0, seconds: 1)
        let began = ContinuousClock.now
        let error = failure { () throws(KeyBrokerError) in _ = try KeyBroker(socketPath: folder["s"]).keys() }
        guard case .noAnswer = error else { throw Waited(description: "\(String(describing: error))") }
        #expect(began.duration(to: .now) < .seconds(15))
        broker.signal(SIGKILL)
        try broker.waitForExit()
    }

    @Test func aBrokerThatEndsBeforeItAnswers() throws {
        let broker = try fake(folder["s"], "close", 0)
        let error = failure { () throws(KeyBrokerError) in
            _ = try KeyBroker(socketPath: folder["s"]).key("k", waitingUpTo: .milliseconds(50))
        }
        guard case .notRunning(_, "it closed the connection without an answer") = error else {
            throw Waited(description: "\(String(describing: error))")
        }
        broker.signal(SIGKILL)
        try broker.waitForExit()
    }

    @Test(.enabled(if: isRoot, "needs root: a third account answers")) func aThirdAccountIsNotBelieved() throws {
        try folder.directory("sticky", mode: 0o1777)
        let broker = try fake(folder["sticky/s"], uid: 61009, "1K1", 1)
        let error = failure { () throws(KeyBrokerError) in _ = try KeyBroker(socketPath: folder["sticky/s"]).key("k") }
        guard case .untrusted(_, let reason) = error else { throw Waited(description: "\(String(describing: error))") }
        #expect(reason.contains("uid 61009 listens there"))
        try folder.directory("theirs", owner: 61009)
        let other = failure { () throws(KeyBrokerError) in _ = try KeyBroker(socketPath: folder["theirs/s"]).key("k") }
        #expect(other?.description.contains("belongs to uid 61009") == true)
        try folder.directory("open", mode: 0o777)
        let open = failure { () throws(KeyBrokerError) in _ = try KeyBroker(socketPath: folder["open/s"]).key("k") }
        #expect(open?.description.contains("can be written to by everybody") == true)
        broker.signal(SIGKILL)
        try broker.waitForExit()
    }
}
