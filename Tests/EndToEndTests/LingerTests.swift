// Sockets that take long to close, sent to the broker by hostile accounts. A second uid measures the damage.
//
// Whoever has the last reference to such a socket waits when it is closed. Linux 6.16 and later refuse it for the broker; here
// it runs as if the kernel were older.

import Foundation
import TestSupport
import Testing

@Suite(
    .serialized, .enabled(if: isRoot, "needs root: it becomes other accounts"),
    .enabled(if: installed("python3") != nil, "needs python3"))
struct LingerTests {
    private let folder = TemporaryFolder("linger")

    private func python(_ script: String, _ arguments: [String]) throws -> Program {
        let path = testsFolder.appendingPathComponent("EndToEndTests/Peers/\(script).py").path
        return try Program(try #require(installed("python3")), [path] + arguments)
    }

    private func daemon(_ more: [String] = []) throws -> Program {
        try folder.write("key", "KEY", mode: 0o600)
        try folder.write("policy", "key k \(folder["key"])\npermit 61001 key k\npermit 61002 key k\n")
        let daemon = try python(
            "without",
            [
                "rights", Program.built("keybrokerd"), "--policy", folder["policy"], "--socket",
                folder["run/broker.sock"], "--audit", folder["log/audit.jsonl"], "--socket-mode", "0666", "--user",
                String(Daemon.uid), "--socket-group", "0",
            ] + more)
        try daemon.wait(for: "readiness", in: .error) { $0.contains("serves ") ? true : nil }
        return daemon
    }

    /// A hostile account that has sent all.
    private func lingering(_ arguments: [String]) throws -> Program {
        let hostile = try python("linger", arguments)
        try hostile.wait(for: "all is sent") { $0.contains("sent") ? true : nil }
        return hostile
    }

    private func descriptors(of daemon: Program) throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/\(daemon.pid)/fd").count
    }

    // MARK: Sockets that linger

    /// - Parameter uid: one that a line names, which is admitted, or a stranger, of whom one connection is.
    @Test(arguments: [61001, 61003]) func socketsThatLingerHoldNobodyUp(_ uid: Int) throws {
        try holdNobodyUp(try daemon(), [folder["run/broker.sock"], "\(uid)", "20"])
    }

    /// The same by whoever is root without being the service manager, as in a container.
    @Test func socketsThatLingerAmongCredentialsHoldNobodyUp() throws {
        let socket = folder["run/credential.sock"]
        try holdNobodyUp(try daemon(["--credential-socket", socket]), [socket, "0", "20", "stream"])
    }

    /// What no signal interrupts is closed by a process that ends with it. Here it takes some ten seconds.
    @Test func socketsThatCloseSlowlyHoldNobodyUp() throws {
        try holdNobodyUp(try daemon(), [folder["run/broker.sock"], "61001", "10", "packet"], givenAwayWithin: 5)
    }

    /// A daemon that stops gives away what waits, and ends.
    @Test func theEndWaitsForNoneOfThem() throws {
        let daemon = try daemon()
        let hostile = try lingering([folder["run/broker.sock"], "61001", "10", "packet"])
        let began = Date()
        daemon.signal(SIGTERM)
        #expect(try daemon.waitForExit() == 0)
        #expect(Date().timeIntervalSince(began) < 5)
        hostile.signal(SIGKILL)
        try hostile.waitForExit()
    }

    /// - Parameter sending: the arguments of linger.py.
    private func holdNobodyUp(
        _ daemon: Program, _ sending: [String], givenAwayWithin seconds: Double = 20
    ) throws {
        // With the way to the key, which is remembered.
        #expect(try PeerProcess(folder["run/broker.sock"], uid: 61002).ask("1Gk").status == "K")
        let before = try descriptors(of: daemon)
        // While the daemon stands still, all is sent, and the sender's own references are gone.
        try OtherProcess.stop(daemon.pid)
        let hostile = try lingering(sending)
        daemon.signal(SIGCONT)
        let began = Date()
        let victim = try python("ask", [folder["run/broker.sock"], "61002", "1Gk", "20"])
        try victim.waitForExit()
        #expect(victim.text() == String(repeating: "K", count: 20))
        // One such socket alone takes 30 seconds.
        #expect(Date().timeIntervalSince(began) < 10)
        hostile.signal(SIGKILL)
        try hostile.waitForExit()
        try waitUntil("all is closed, or given away", seconds: seconds) { try descriptors(of: daemon) <= before }
        daemon.signal(SIGTERM)
        #expect(try daemon.waitForExit() == 0)
    }
}
