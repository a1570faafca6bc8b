// `keybroker exec --sign`: commands that have a pointer in the place of a key.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Provider.isPossible, "needs a C compiler, make, openssl and python3"))
struct SigningExecTests {
    private let bench: ProviderBench

    init() throws { bench = try ProviderBench("exec-sign", keys: [("ec", ProviderBench.p256)]) }

    private func exec(
        _ options: [String], _ command: [String], environment: [String: String]? = nil,
        by program: String = Program.built("keybroker")
    ) throws -> (status: Int32, output: String, errors: String) {
        try Program.run(
            program, ["exec"] + options + ["--"] + command, environment: environment ?? bench.environment,
            directory: bench.folder.path)
    }

    @Test func aCommandSignsWithAKeyThatItCannotRead() throws {
        let signed = try exec(
            ["--sign", "ec=9"],
            ["openssl", "req", "-new", "-key", "{ec}", "-subj", "/CN=x", "-out", "signed.csr"])
        #expect(signed.status == 0, "\(signed.errors)")
        let verified = try Program.run(
            installed("openssl") ?? "openssl", ["req", "-in", bench.folder["signed.csr"], "-verify", "-noout"])
        #expect(verified.status == 0 && (verified.errors + verified.output).contains("OK"), "\(verified.errors)")
        // It was asked before the command began, and by the command.
        #expect(try bench.tell("asked") == "2")

        let given = try exec(
            ["--sign", "ec=9", "--env", "BOTH=ec.bundle"],
            ["sh", "-c", "echo $0 $1 $BOTH; cat $0; cat $1; cat $BOTH", "{ec}", "{ec.certificate}"])
        let pointer = try bench.folder.text("ec.pem")
        let certificate = try bench.folder.text("ec.crt")
        let paths = "/proc/self/fd/9 /proc/self/fd/4 /proc/self/fd/3\n"
        #expect(given.output == paths + pointer + certificate + certificate + pointer, "\(given.errors)")
    }

    /// The command finds the provider, and the broker that it was started with.
    @Test func theEnvironment() throws {
        let socket = try #require(bench.environment["KEYBROKER_SOCKET"])
        let show = ["sh", "-c", #"echo "${OPENSSL_CONF-unset} ${KEYBROKER_SOCKET-unset}""#]
        let options = ["--socket", socket, "--sign", "ec"]
        #expect(try exec(options, show, environment: ["OPENSSL_CONF": "/own"]).output == "/own \(socket)\n")
        #expect(try exec(options, show, environment: ["OPENSSL_CONF": ""]).output == " \(socket)\n")
        #expect(try exec(["--socket", socket], show, environment: [:]).output == "unset unset\n")
        // The file is found beside the program, and not by the environment or the working directory.
        try bench.folder.directory("prefix/bin")
        try bench.folder.directory("prefix/share/keybroker")
        let program = bench.folder["prefix/bin/keybroker"]
        try FileManager.default.copyItem(atPath: Program.built("keybroker"), toPath: program)
        if !FileManager.default.fileExists(atPath: "/usr/share/keybroker/openssl.cnf") {
            let missing = try exec(options, show, environment: [:], by: program)
            #expect(missing.status == 69 && missing.output.isEmpty)
            #expect(missing.errors.contains("the provider for OpenSSL is not installed"), "\(missing.errors)")
        }
        try bench.folder.write("prefix/share/keybroker/openssl.cnf", "")
        #expect(
            try exec(options, show, environment: [:], by: program).output
                == "\(bench.folder["prefix/share/keybroker/openssl.cnf"]) \(socket)\n")
    }

    /// What cannot serve ends before the command begins.
    @Test func whatIsMissingIsSaid() throws {
        let begun = ["sh", "-c", "echo begun"]
        try bench.tell("deny ec")
        let denied = try exec(["--sign", "ec"], begun)
        #expect(denied.status == 77 && denied.output.isEmpty && denied.errors.contains("not permitted"))
        try bench.tell("permit ec")
        #expect(try exec(["--sign", "ec"], begun).output == "begun\n")
        // The key of another certificate.
        try bench.folder.shell("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other.key")
        try bench.tell("use ec \(bench.folder["other.key"])")
        let differs = try exec(["--sign", "ec"], begun + ["{ec.certificate}"])
        #expect(differs.status == 65 && differs.output.isEmpty, "\(differs.errors)")
        #expect(differs.errors.contains("do not belong together"), "\(differs.errors)")
        #expect(try exec(["--sign", "ec"], begun).output == "begun\n")
    }
}
