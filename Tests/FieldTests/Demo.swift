// The demo server on a Unix socket, with a key that its account cannot read.

import Foundation
import TestSupport
import Testing

final class Demo {
    let daemon: Daemon
    let folder: TemporaryFolder
    /// The account of the server.
    static let uid: UInt32 = 61_033

    init(_ folder: TemporaryFolder) throws {
        self.folder = folder
        try folder.shell(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost "
                + "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key -out crt 2>/dev/null; chmod 600 key; "
                + "mkdir www; chown \(Self.uid) www")
        daemon = try Daemon(
            folder, policy: "key web \(folder["key"]) certificate \(folder["crt"])\npermit \(Self.uid) key web\n")
    }

    /// The path of its socket.
    var socket: String { folder["www/s"] }
    /// Its certificate, which clients have to trust.
    var certificate: String { folder["crt"] }

    /// A command line that becomes the server's account.
    static let account = [
        installed("setpriv") ?? "setpriv", "--reuid", "\(uid)", "--regid", "\(uid)", "--clear-groups",
    ]

    /// Starts the server. It is ready when this returns.
    /// - Parameter wrapper: a command line that runs the rest.
    func serve(wrapper: [String] = Demo.account) throws -> Program {
        let server = try start(at: "unix:\(socket)", wrapper: wrapper)
        try server.wait(for: "readiness") { $0.contains("ready: ") ? true : nil }
        return server
    }

    /// Starts the server, and does not wait for it.
    func start(at address: String, wrapper: [String]) throws -> Program {
        let command =
            wrapper + [
                Program.built("keybroker-tls-demo"), "--key", "web", "--broker-socket", daemon.socket, "--listen",
                address,
            ]
        return try Program(command[0], Array(command.dropFirst()))
    }

    /// Gets the server's page of facts with curl, and returns it. Throws if that fails.
    func page(_ url: String, _ options: [String] = [], wrapper: [String] = []) throws -> String {
        let command =
            wrapper + [installed("curl") ?? "curl", "--silent", "--show-error", "--fail", "--cacert", certificate]
            + options + ["\(url)/status.json"]
        let (status, output, errors) = try Program.run(command[0], Array(command.dropFirst()))
        guard status == 0 else { throw Waited(description: "curl \(url): status \(status), \(errors)") }
        return output
    }
}
