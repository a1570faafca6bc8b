// The provider, a signing broker, and programs that use both.

import Foundation
import TestSupport
import Testing

/// The provider, built once for all tests.
enum Provider {
    static let path: Result<String, Waited> = Result { () throws(Waited) in
        let folder = URL(fileURLWithPath: Program.built("keybroker")).deletingLastPathComponent().path + "/openssl"
        try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let source = projectFolder.appendingPathComponent("Sources/Clients/OpenSSL").path
        let made: (status: Int32, output: String, errors: String)?
        made = try? Program.run(installed("make") ?? "make", ["-s", "-C", source, "OUT=\(folder)"])
        guard made?.status == 0 else { throw Waited(description: "make: \(made?.errors ?? "")") }
        return "\(folder)/keybroker.so"
    }

    static var isPossible: Bool {
        ["cc", "make", "openssl", "python3"].allSatisfy { installed($0) != nil }
    }
}

final class ProviderBench {
    let folder: TemporaryFolder
    let broker: Program
    let environment: [String: String]

    /// - Parameter keys: names, and how to make each key with openssl genpkey.
    init(_ name: String, keys: [(name: String, options: [String])], uses: Int = 4) throws {
        folder = TemporaryFolder(name)
        environment = [
            "OPENSSL_CONF": folder["openssl.cnf"], "KEYBROKER_SOCKET": folder["broker"],
        ]
        // The file of the package, with the path of the module besides.
        let configuration = try String(
            contentsOf: projectFolder.appendingPathComponent("Sources/Clients/OpenSSL/openssl.cnf"), encoding: .utf8)
        try folder.write(
            "openssl.cnf",
            configuration.replacing(
                "[keybroker_section]\n", with: "[keybroker_section]\nmodule = \(try Provider.path.get())\n"))
        let openssl = installed("openssl") ?? "openssl"
        for (name, options) in keys {
            let made = try Program.run(openssl, ["genpkey", "-out", folder["\(name).key"], "-algorithm"] + options)
            guard made.status == 0 else { throw Waited(description: made.errors) }
            let signed = try Program.run(
                openssl,
                [
                    "req", "-x509", "-new", "-key", folder["\(name).key"], "-subj", "/CN=localhost", "-days", "30",
                    "-out", folder["\(name).crt"],
                ])
            guard signed.status == 0 else { throw Waited(description: signed.errors) }
            let pointer = try Program.run(Program.built("keybroker"), ["pointer", name])
            try folder.write("\(name).pem", pointer.output)
        }
        let folder = folder
        broker = try Program(
            installed("python3") ?? "python3",
            [
                testsFolder.appendingPathComponent("OpenSSLTests/Brokers/signing.py").path,
                Program.built("keybroker-signer"), folder["broker"],
            ] + keys.map { "\($0.name)=\(folder["\($0.name).key"]):\(uses):\(folder["\($0.name).crt"])" })
        _ = try broker.nextLine(seconds: 60)
    }

    deinit { broker.closeInput() }

    /// Tells the broker something, and returns its answer.
    @discardableResult
    func tell(_ command: String) throws -> String {
        try broker.send(command)
        return try broker.nextLine(seconds: 60)
    }

    func openssl(_ arguments: String...) throws -> (status: Int32, output: String, errors: String) {
        try Program.run(
            installed("openssl") ?? "openssl", arguments, environment: environment, directory: folder.path)
    }

    /// A program that makes handshakes with itself.
    func python(_ name: String) throws -> Program {
        try client("tls.py", folder["\(name).crt"], folder["\(name).pem"])
    }

    /// A program in the test's folder.
    func client(_ script: String, _ arguments: String..., environment more: [String: String] = [:]) throws -> Program {
        let program = try Program(
            installed("python3") ?? "python3",
            [testsFolder.appendingPathComponent("OpenSSLTests/Clients/\(script)").path] + arguments,
            environment: environment.merging(more) { $1 }, directory: folder.path)
        #expect(try program.nextLine(seconds: 60) == "ready")
        return program
    }

    static let p256 = ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    static let rsa = ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
    static let ed25519 = ["ED25519"]
}

extension Program {
    func ask(_ command: String) throws -> String {
        try send(command)
        return try nextLine(seconds: 60)
    }
}
