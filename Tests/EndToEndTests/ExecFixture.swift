// What the tests of `keybroker exec` share: keys and certificates, a broker, and commands under another account.

import Foundation
import TestSupport
import Testing

/// A broker with the key `web`, its certificate, and more, and an account that runs commands with them.
struct ExecFixture {
    static let uid = 61001

    let folder: TemporaryFolder
    let daemon: Daemon

    /// - Parameter policy: further lines.
    init(_ name: String, policy: String = "") throws {
        folder = TemporaryFolder(name)
        try Self.pair("web", in: folder)
        try Self.pair("other", in: folder)
        daemon = try Daemon(
            folder,
            policy: """
                key web \(folder["web.key"]) certificate \(folder["web.crt"])
                key bare \(folder["other.key"])
                key mixed \(folder["web.key"]) certificate \(folder["other.crt"])
                key forbidden \(folder["web.key"])
                permit \(Self.uid) key web bare mixed
                limit \(Self.uid) requests 10000
                \(policy)

                """)
    }

    /// Makes a key and its certificate, as root would install them.
    static func pair(_ name: String, in folder: TemporaryFolder) throws {
        try folder.shell(
            """
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=\(name) \
                -keyout \(name).key -out \(name).crt 2>/dev/null
            chmod 600 \(name).key
            """)
    }

    static let given = testsFolder.appendingPathComponent("EndToEndTests/Peers/given.py").path

    /// The program and the arguments that run `keybroker exec` as the account.
    func commandLine(_ options: [String], _ command: [String]) -> (program: String, arguments: [String]) {
        (
            installed("setpriv") ?? "setpriv",
            Self.account + [Program.built("keybroker"), "exec", "--socket", daemon.socket] + options + ["--"] + command
        )
    }

    static let account = ["--reuid", String(uid), "--regid", String(uid), "--clear-groups", "--"]

    func run(
        _ options: [String], _ command: [String], environment: [String: String] = [:]
    ) throws -> (status: Int32, output: String, errors: String) {
        let (program, arguments) = commandLine(options, command)
        return try Program.run(program, arguments, environment: environment)
    }

    func start(_ options: [String], _ command: [String], environment: [String: String] = [:]) throws -> Program {
        let (program, arguments) = commandLine(options, command)
        return try Program(program, arguments, environment: environment)
    }

    /// What `given.py` says that it was given.
    func given(
        _ options: [String], _ arguments: [String] = [], environment: [String: String] = [:]
    ) throws -> Given {
        let (status, output, errors) = try run(
            options, ["/usr/bin/python3", Self.given] + arguments, environment: environment)
        try #require(status == 0, "\(errors)")
        return try Given(output)
    }
}

/// What a command was given.
struct Given {
    let files: [String: [String: Any]]
    let signals: [String: String]
    let environment: [String: String]
    let arguments: [String]
    let pid: Int
    let text: String

    init(_ output: String) throws {
        let object = try #require(try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any])
        files = try #require(object["files"] as? [String: [String: Any]])
        signals = try #require(object["signals"] as? [String: String])
        environment = try #require(object["environment"] as? [String: String])
        arguments = try #require(object["arguments"] as? [String])
        pid = try #require(object["pid"] as? Int)
        text = output
    }

    /// The files that come from `keybroker exec`, by the numbers of their descriptors.
    var keys: [String: [String: Any]] {
        files.filter { ($0.value["target"] as? String)?.hasPrefix("/memfd:keybroker ") == true }
    }

    func content(_ number: Int) -> String? { files[String(number)]?["content"] as? String }
}
