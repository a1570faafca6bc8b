// Many rotations in a row, while clients make one handshake after the other.

import Foundation
import TestSupport
import Testing

@Suite struct RotationTests {
    private let folder = TemporaryFolder("rotation")

    /// How many rotations. More with `KEYBROKER_ROTATIONS=1000`.
    private static let count =
        ProcessInfo.processInfo.environment["KEYBROKER_ROTATIONS"].flatMap { Int($0) } ?? 40

    /// Nobody tells the server anything: it watches its key.
    @Test func noHandshakeFailsAndNothingLeaks() throws {
        let server = try DemoServer(folder)
        for name in ["a", "b"] {
            try folder.shell(
                "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost "
                    + "-addext subjectAltName=DNS:localhost -keyout \(name).key -out \(name).crt 2>/dev/null")
        }
        try folder.shell("cat crt a.crt b.crt > trusted")
        let script = testsFolder.appendingPathComponent("TLSTests/Peers/handshakes.py").path
        let client = try Program(installed("python3") ?? "python3", [script, server.ip4, folder["trusted"]])
        _ = try client.wait(forLines: 1)
        func open(_ pid: Int32) throws -> Int {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count
        }
        var before = (daemon: 0, server: 0)
        for number in 1...Self.count {
            let name = number % 2 == 0 ? "a" : "b"
            try folder.shell(
                "cp \(name).key new && chmod 600 new && mv new key && cp \(name).crt new && mv new crt")
            try server.program.wait(for: "renewal \(number)") {
                $0.components(separatedBy: "renewed: key web").count > number ? true : nil
            }
            if number == 2 { before = (try open(server.daemon.pid), try open(server.program.pid)) }
        }
        client.closeInput()
        #expect(try client.waitForExit(seconds: 60) == 0)
        let said = try #require(
            try JSONSerialization.jsonObject(with: Data(client.lines()[1].utf8)) as? [String: Any])
        #expect(said["failed"] as? Int == 0, "\(said)")
        #expect(said["certificates"] as? Int == 3)
        #expect(said["made"] as? Int ?? 0 >= Self.count, "\(said)")
        // The clients' own connections may still be about to end.
        let deadline = Date(timeIntervalSinceNow: 20)
        while try open(server.program.pid) > before.server, Date() < deadline { usleep(10_000) }
        #expect(try open(server.program.pid) <= before.server)
        #expect(try open(server.daemon.pid) <= before.daemon)
        // On a busy machine, a key may be announced before its certificate is in place. The server then waits for it.
        #expect(server.program.lines(.error).allSatisfy { $0.contains("the key does not belong to the certificate") })
    }

    /// A restart of the broker is no rotation. One that happens meanwhile is not lost.
    @Test func theBrokerMayRestart() throws {
        let server = try DemoServer(folder)
        try server.daemon.kill()
        try folder.shell(
            "openssl req -x509 -newkey ed25519 -nodes -subj /CN=localhost -keyout new -out crt2 2>/dev/null; "
                + "chmod 600 new; mv new key; mv crt2 crt")
        try server.daemon.restart()
        try server.program.wait(for: "renewal") { $0.contains("renewed: key web") ? true : nil }
        #expect(server.program.isRunning)
    }
}
