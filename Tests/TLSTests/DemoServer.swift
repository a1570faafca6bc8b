// The demo server as a real process with a key from the real broker. The clients are processes too.

import Foundation
import TestSupport

/// A keybroker-tls-demo for one test, with its own broker, in a sandbox.
final class DemoServer {
    let daemon: Daemon
    let program: Program
    /// The addresses that it printed: `https://127.0.0.1:PORT/`, `https://[::1]:PORT/`, `unix:PATH`.
    let addresses: [String]

    /// Starts the server. If the tests run as root, its account may not read the key file.
    /// - Parameter wrapper: a program that runs the server, with its arguments.
    init(_ folder: TemporaryFolder, options: [String] = [], wrapper: [String] = []) throws {
        try folder.shell(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost "
                + "-addext subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1 -keyout key -out crt 2>/dev/null; "
                + "chmod 600 key; mkdir www; chmod 777 www")
        let uid = isRoot ? 61033 : geteuid()
        daemon = try Daemon(
            folder, policy: "key web \(folder["key"]) certificate \(folder["crt"])\npermit \(uid) key web\n")
        let command =
            [
                Program.built("keybroker-tls-demo"), "--key", "web", "--broker-socket", daemon.socket, "--key-path",
                folder["key"], "--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--listen",
                "unix:\(folder["www/s"])",
            ] + options
        let identity = isRoot ? ["--reuid", "\(uid)", "--regid", "\(uid)", "--clear-groups"] : []
        program = try Program(installed("setpriv") ?? "setpriv", identity + wrapper + command)
        addresses = try program.wait(for: "readiness") { text in
            text.contains("ready: ")
                ? text.split(separator: "\n").compactMap {
                    $0.hasPrefix("listening on ") ? String($0.dropFirst(13)) : nil
                } : nil
        }
    }

    /// `127.0.0.1:PORT`
    var ip4: String { String(addresses[0].dropFirst("https://".count).dropLast()) }

    /// The CPU time that the server has used, in seconds.
    func processorSeconds() throws -> Double {
        let stat = String(
            decoding: try Data(contentsOf: URL(fileURLWithPath: "/proc/\(program.pid)/stat")), as: UTF8.self)
        let fields = stat.split(separator: ")")[1].split(separator: " ")
        return (Double(fields[11]) ?? 0) / 100 + (Double(fields[12]) ?? 0) / 100
    }
}

/// TLS clients that are controlled step by step. See Peers/client.py.
final class Clients {
    let program: Program
    private var taken = 0

    /// - Parameter certificate: a file with the certificates to trust.
    init(trusting certificate: String) throws {
        let script = testsFolder.appendingPathComponent("TLSTests/Peers/client.py").path
        program = try Program(installed("python3") ?? "python3", [script, certificate])
    }

    deinit { program.signal(SIGKILL) }

    /// Runs one step, and returns the result that the script prints.
    @discardableResult
    func callAsFunction(_ step: String) throws -> [String: Any] {
        try begin(step)
        return try finish()
    }

    /// Starts a step. `finish` returns its result.
    func begin(_ step: String) throws { try program.send(step) }

    func finish() throws -> [String: Any] {
        taken += 1
        guard let line = try program.wait(forLines: taken, seconds: 60).last,
            let result = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
        else { throw Waited(description: "no result") }
        return result
    }

    /// The status of the next response; 0 if there is none.
    func status(_ name: String) throws -> Int { try self("receive \(name)")["status"] as? Int ?? 0 }
}

/// A request for the status, with escapes for Python.
func get(_ path: String = "/status.json", _ fields: String = "") -> String {
    "GET \(path) HTTP/1.1\\r\\nHost: localhost\\r\\n\(fields)\\r\\n"
}
