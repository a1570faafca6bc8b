// Unchanged programs on OpenSSL 3 that have a pointer file in the place of a key.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Provider.isPossible, "needs a C compiler, make, openssl and python3"))
struct ProviderTests {
    private static let kinds: [(name: String, options: [String])] = [
        ("ec", ProviderBench.p256), ("p384", ["EC", "-pkeyopt", "ec_paramgen_curve:P-384"]), ("rsa", ProviderBench.rsa),
        ("ed25519", ProviderBench.ed25519), ("ed448", ["ED448"]),
    ]

    /// A request for a certificate is signed, and openssl verifies it without the provider.
    @Test func theOpensslProgram() throws {
        let bench = try ProviderBench("openssl", keys: Self.kinds)
        for (name, _) in Self.kinds {
            for source in ["\(name).pem", "keybroker://\(name)"] {
                let request = try bench.openssl("req", "-new", "-key", source, "-subj", "/CN=x", "-out", "\(name).csr")
                #expect(request.status == 0, "\(source): \(request.errors)")
                let verified = try Program.run(
                    installed("openssl") ?? "openssl", ["req", "-in", bench.folder["\(name).csr"], "-verify", "-noout"])
                #expect(
                    verified.status == 0 && (verified.errors + verified.output).contains("OK"),
                    "\(source): \(verified.errors)")
            }
            let own = try bench.openssl("pkey", "-in", "\(name).key", "-pubout")
            #expect(try bench.openssl("pkey", "-in", "\(name).pem", "-pubout").output == own.output)
            // The private half cannot be written down.
            let written = try bench.openssl("pkey", "-in", "\(name).pem")
            #expect(written.status != 0 && !written.output.contains("PRIVATE"), "\(written.output)")
        }
        // Each was asked for once, although OpenSSL tries a decoder for each kind of key.
        #expect(try bench.tell("asked") == String(4 * Self.kinds.count))
        // Streams, and other hashes of RSA.
        try bench.folder.write("message", String(repeating: "m", count: 5000))
        for options in [[], ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"]] {
            for hash in ["-sha256", "-sha384", "-sha512"] {
                let signed = try Program.run(
                    installed("openssl") ?? "openssl",
                    ["dgst", hash, "-sign", "rsa.pem"] + options + ["-out", "signature", "message"],
                    environment: bench.environment, directory: bench.folder.path)
                #expect(signed.status == 0, "\(signed.errors)")
                let verified = try Program.run(
                    installed("openssl") ?? "openssl",
                    ["dgst", hash, "-prverify", "rsa.key"] + options + ["-signature", "signature", "message"],
                    directory: bench.folder.path)
                #expect(verified.status == 0, "\(hash) \(options): \(verified.output)")
            }
        }
        // Work that has nothing to do with the broker is the default provider's.
        let other = try bench.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        #expect(other.status == 0 && other.output.contains("BEGIN PRIVATE KEY"))
    }

    /// It is loaded into programs of others: it exports one function, and brings no library that they do not have.
    @Test(.enabled(if: installed("readelf") != nil, "readelf is not installed")) func whatIsLoaded() throws {
        let elf = try Program.run(
            installed("readelf") ?? "",
            ["--wide", "--dynamic", "--dyn-syms", "--program-headers", try Provider.path.get()]
        ).output
        let exported = elf.matches(of: #/(?:GLOBAL|WEAK) +DEFAULT +\d+ (\S+)/#).map { String($0.1) }
        #expect(exported == ["OSSL_provider_init"])
        let needed = elf.matches(of: #/\(NEEDED\).*\[(.*?)\.so/#).map { String($0.1) }
        #expect(Set(needed) == ["libcrypto", "libc"])
        #expect(elf.contains("BIND_NOW") && elf.contains("GNU_RELRO") && !elf.contains("RUNPATH"))
        #expect(elf.contains("__stack_chk_fail"))
    }

    @Test func whatIsNotPermittedIsSaid() throws {
        let bench = try ProviderBench("denied", keys: [("ec", ProviderBench.p256)], uses: 1)
        // Only handshakes of TLS 1.3 servers.
        let request = try bench.openssl("req", "-new", "-key", "ec.pem", "-subj", "/CN=x")
        #expect(request.status != 0 && request.errors.contains("not of the permitted use"), "\(request.errors)")
        #expect(try bench.python("ec").ask("one") == "1")
        try bench.tell("deny ec")
        let denied = try bench.openssl("pkey", "-in", "ec.pem", "-pubout")
        // OpenSSL 3.0 drops what a decoder says, so the reason is in the broker's log alone.
        #expect(denied.status != 0 && denied.output.isEmpty)
        bench.broker.closeInput()
        try bench.broker.waitForExit()
        let gone = try bench.openssl("pkey", "-in", "ec.pem", "-pubout")
        #expect(gone.status != 0 && gone.output.isEmpty)
    }

    @Test(arguments: [("ec", ProviderBench.p256), ("rsa", ProviderBench.rsa), ("ed25519", ProviderBench.ed25519)])
    func threadsAndForks(_ name: String, _ options: [String]) throws {
        let bench = try ProviderBench("forks", keys: [(name, options)], uses: 1)
        let program = try bench.python(name)
        #expect(try program.ask("one") == "1")
        #expect(try program.ask("threads 6 20") == "120", "\(program.text(.error))")
        #expect(try program.ask("fork 4 40") == "160", "\(program.text(.error))")
        #expect(try program.ask("nested") == "44", "\(program.text(.error))")
        // All of that was one permission.
        #expect(try bench.tell("asked") == "1")
        // A daemon closes what it does not know. The provider closes no file of others because of it.
        #expect(try program.ask("close") == "1", "\(program.text(.error))")
        #expect(try bench.tell("asked") == "2")
        #expect(try program.waitForExit() == 0, "\(program.text(.error))")
    }

    @Test func aNewSignerIsAskedAnew() throws {
        let bench = try ProviderBench("anew", keys: [("ec", ProviderBench.p256)], uses: 1)
        let program = try bench.python("ec")
        for _ in 0..<3 {
            #expect(try program.ask("threads 2 5") == "10")
            try bench.tell("restart")
            #expect(try program.ask("threads 2 5") == "10", "\(program.text(.error))")
        }
        // A permission that ends: not one signature more.
        try bench.tell("deny ec")
        try bench.tell("end")
        #expect(try program.ask("one") == "0")
        try program.wait(for: "the error", in: .error) { $0.lowercased().contains("ssl") ? true : nil }
        try bench.tell("permit ec")
        #expect(try program.ask("one") == "1")
        // Another key under that name does not fit the certificate of the program.
        try bench.folder.shell("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other.key")
        try bench.tell("use ec \(bench.folder["other.key"])")
        #expect(try program.ask("one") == "1")
        try bench.tell("end")
        #expect(try program.ask("one") == "0")
    }

    /// A signer that hangs costs one second, and its late replies are not taken for others'.
    @Test(.enabled(if: isRoot, "needs root: it stops a process of another account"))
    func aSignerThatHangs() throws {
        let bench = try ProviderBench("hangs", keys: [("ec", ProviderBench.p256)], uses: 1)
        let program = try bench.python("ec")
        #expect(try program.ask("one") == "1")
        let keeper = try #require(OtherProcess.children(of: bench.broker.pid).first)
        let worker = try #require(OtherProcess.children(of: keeper).first)
        try OtherProcess.stop(worker)
        #expect(try program.ask("one") == "0")
        kill(worker, SIGCONT)
        // The client verifies each signature, so one of another request would fail.
        for _ in 0..<5 { #expect(try program.ask("one") == "1", "\(program.text(.error))") }
    }

    /// A certificate and a pointer in one file, as haproxy has them; and a real key beside the provider.
    @Test func otherFiles() throws {
        let bench = try ProviderBench("files", keys: [("ec", ProviderBench.p256)])
        let both = try bench.folder.text("ec.crt") + bench.folder.text("ec.pem")
        try bench.folder.write("both.pem", both)
        #expect(try bench.openssl("pkey", "-in", "both.pem", "-pubout").status == 0)
        #expect(try bench.openssl("pkey", "-in", "ec.key").output.contains("BEGIN PRIVATE KEY"))
        for text in [
            "MBMMEWtleWJyb2tlcjp3ZWItdGxt", "", "AAAA", "MBMMEWtleWJyb2tlcjp3ZWIvdGxz", "MAAMEWtleWJyb2tlcjp3ZWItdGxz",
        ] {
            try bench.folder.write("wrong.pem", "-----BEGIN KEYBROKER URI-----\n\(text)\n-----END KEYBROKER URI-----\n")
            #expect(try bench.openssl("pkey", "-in", "wrong.pem", "-pubout").status != 0, "\(text)")
        }
        for uri in ["keybroker://", "keybroker://../x", "keybroker://Web", "keybroker:///etc/passwd"] {
            #expect(try bench.openssl("pkey", "-in", uri, "-pubout").status != 0, "\(uri)")
        }
    }

    /// A program that goes on after a refusal signs as it was set before, and not in a way that it never asked for.
    @Test(arguments: ["pkcs1", "pss"]) func whatIsRefusedChangesNothing(_ padding: String) throws {
        let bench = try ProviderBench("careless", keys: [("rsa", ProviderBench.rsa)])
        try bench.folder.write("message", "message")
        let program = try bench.client("careless.py")
        let set = ["sign rsa.pem SHA512 pad-mode \(padding)"]
        let refused = ["digest SHA1 pad-mode oaep mgf1-digest SHA256 saltlen 20"]
        #expect(try program.ask((set + refused).joined(separator: " ")) == "1 0 0 0 0")
        let verified = try Program.run(
            installed("openssl") ?? "openssl",
            [
                "dgst", "-sha512", "-prverify", "rsa.key", "-sigopt", "rsa_padding_mode:\(padding)", "-signature",
                "signature", "message",
            ], directory: bench.folder.path)
        #expect(verified.status == 0, "\(verified.output)")
    }

    /// A key of another type than the program asked for is not kept, as its channel would stay open.
    @Test func whatNobodyTakesIsClosed() throws {
        let bench = try ProviderBench("types", keys: [("ec", ProviderBench.p256)])
        let program = try bench.client("careless.py")
        #expect(try program.ask("load RSA ec.pem") == "0")
        #expect(try bench.tell("idle") == "done")
        #expect(try program.ask("load EC ec.pem") == "1")
        #expect(try bench.tell("asked") == "2")
    }

    private static let usesValgrind =
        ProcessInfo.processInfo.environment["KEYBROKER_VALGRIND"] != nil && installed("valgrind") != nil

    @Test(.enabled(if: usesValgrind, "slow: set KEYBROKER_VALGRIND, and install valgrind")) func memory() throws {
        let bench = try ProviderBench("valgrind", keys: [("ec", ProviderBench.p256), ("rsa", ProviderBench.rsa)])
        for name in ["ec", "rsa"] {
            let result = try Program.run(
                "/usr/bin/valgrind",
                [
                    "-q", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite",
                    installed("openssl") ?? "openssl", "req", "-new", "-key", "\(name).pem", "-subj", "/CN=x", "-out",
                    "csr",
                ], environment: bench.environment, directory: bench.folder.path, seconds: 120)
            #expect(result.status == 0, "\(result.errors)")
        }
    }
}
