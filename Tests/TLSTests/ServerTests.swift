// The demo server as people use it: curl and openssl with the real program, and a key from the real broker.

import Foundation
import TestSupport
import Testing

@Suite(.serialized) struct ServerTests {
    private let folder = TemporaryFolder("server")

    private func curl(_ arguments: [String]) throws -> (status: Int32, output: String, errors: String) {
        try Program.run(
            installed("curl") ?? "curl",
            ["--silent", "--show-error", "--noproxy", "*", "--max-time", "15", "--cacert", folder["crt"]] + arguments)
    }

    private func port(_ server: DemoServer) throws -> String {
        try #require(server.addresses.first?.split(separator: ":").last.map { String($0.dropLast()) })
    }

    @Test func theSamePageAtEveryAddress() throws {
        let server = try DemoServer(folder)
        #expect(server.addresses.count == 3)
        var documents: [String: String] = [:]
        for arguments in [
            [server.addresses[0] + "status.json"], [server.addresses[1] + "status.json"],
            ["--unix-socket", folder["www/s"], "https://localhost/status.json"],
        ] {
            let (status, output, errors) = try curl(arguments)
            #expect(status == 0, "\(errors)")
            documents = try #require(JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: String])
            if isRoot {
                #expect(documents["account"] == "uid 61033")
                #expect(
                    documents["key_path"]?.hasSuffix("cannot be opened by this account: Permission denied (EACCES)")
                        == true)
            }
            #expect(documents["decision"] == "2")
            #expect(documents["connection"]?.hasPrefix("TLSv1.3, ") == true)
        }
        let page = try curl(["--include", server.addresses[0]]).output
        #expect(page.hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(page.contains(documents["fingerprint"] ?? "no fingerprint"))
        #expect(try curl(["--include", server.addresses[0] + "none"]).output.hasPrefix("HTTP/1.1 404 "))
        #expect(try curl(["--include", "-X", "DELETE", server.addresses[0]]).output.contains("Allow: GET, HEAD"))
        #expect(try curl(["--include", "--data", "x", server.addresses[0]]).output.hasPrefix("HTTP/1.1 413 "))
        #expect(try curl(["--head", server.addresses[0]]).output.hasSuffix("\r\n\r\n"))
    }

    @Test func protocolVersions() throws {
        let server = try DemoServer(folder)
        for (version, isSpoken) in [("1.3", true), ("1.2", true), ("1.1", false)] {
            let (status, _, _) = try curl(
                ["--tlsv1.0", "--ciphers", "DEFAULT@SECLEVEL=0", "--tls-max", version, server.addresses[0]])
            #expect((status == 0) == isSpoken, "\(version)")
        }
        let negotiated = try curl(["--http1.1", "--verbose", server.addresses[0]])
        #expect(negotiated.errors.contains("ALPN: server accepted http/1.1"))
    }

    @Test func manyRequestsOnOneConnection() throws {
        let server = try DemoServer(folder)
        let urls = (0..<50).map { _ in server.addresses[0] + "status.json" }
        let (status, output, errors) = try curl(["--verbose"] + urls)
        #expect(status == 0)
        #expect(output.split(separator: "\n").count == 50)
        #expect(errors.matches(of: #/Re-using existing .*connection/#).count >= 49)
        // All requests are sent at once. The responses come in order.
        let request = "GET /status.json HTTP/1.1\\r\\nHost: localhost\\r\\n"
        let pipelined = try Program.run(
            "/bin/sh",
            [
                "-c",
                "printf '\(request)\\r\\n\(request)\\r\\n\(request)Connection: close\\r\\n\\r\\n' | "
                    + "openssl s_client -quiet -ign_eof -connect 127.0.0.1:\(try port(server)) 2>/dev/null",
            ])
        #expect(pipelined.output.components(separatedBy: "HTTP/1.1 200 OK").count == 4)
    }

    @Test func slowClientsAreTimedOutWhileOthersAreServed() throws {
        let server = try DemoServer(folder, options: ["--idle-timeout", "3", "--max-connections", "40"])
        let python = installed("python3") ?? "python3"
        let slow = try Program(
            python,
            [
                "-c",
                """
                import socket, ssl, sys
                plain = [socket.create_connection(("127.0.0.1", \(try port(server)))) for _ in range(20)]
                context = ssl.create_default_context(cafile=sys.argv[1])
                half = context.wrap_socket(socket.create_connection(("127.0.0.1", \(try port(server)))), server_hostname="localhost")
                half.send(b"GET / HT")
                print("holds", flush=True)
                for one in plain:
                    assert one.recv(1) == b""
                try:
                    assert half.recv(1) == b""
                except ssl.SSLError:
                    pass
                print("ended", flush=True)
                """, folder["crt"],
            ])
        _ = try slow.wait(forLines: 1)
        #expect(try curl([server.addresses[0]]).status == 0)
        _ = try slow.wait(forLines: 2)
        #expect(try slow.waitForExit() == 0)
        #expect(try curl([server.addresses[0]]).status == 0)
    }

    @Test func aGracefulStop() throws {
        let server = try DemoServer(folder)
        #expect(try curl([server.addresses[0]]).status == 0)
        #expect(FileManager.default.fileExists(atPath: folder["www/s"]))
        server.program.signal(SIGTERM)
        #expect(try server.program.waitForExit() == 0)
        #expect(!FileManager.default.fileExists(atPath: folder["www/s"]))
    }

    @Test func aNewKeyWithoutARestart() throws {
        let server = try DemoServer(folder)
        func fingerprint() throws -> String? {
            let output = try curl([server.addresses[0] + "status.json"]).output
            return (try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: String])?["fingerprint"]
        }
        let first = try fingerprint()
        try folder.shell(
            "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 "
                + "-keyout key2 -out crt2 2>/dev/null; chmod 600 key2; mv key2 key; mv crt2 crt")
        server.program.signal(SIGHUP)
        try server.program.wait(for: "renewal") { $0.contains("renewed: key web, decision") ? true : nil }
        let second = try fingerprint()
        #expect(first != nil && second != nil && first != second)
        // If the new key cannot be used, the server keeps the old one.
        try folder.write("key", "garbage", mode: 0o600)
        server.program.signal(SIGHUP)
        try server.program.wait(for: "refusal", in: .error) { $0.contains("keeps the old key") ? true : nil }
        #expect(try fingerprint() == second)
    }

    @Test(arguments: [
        ([], "--key <name>"), (["--key", "web"], "--listen <address>"),
        (["--key", "", "--listen", "127.0.0.1:0"], "for '--key <name>': it needs a value"),
        (
            ["--key", "web", "--listen", "127.0.0.1:0", "--certificate", ""],
            "for '--certificate <path>': it needs a value"
        ),
        (["--key", "web", "--listen", "nowhere"], "'nowhere' has no port; write 127.0.0.1:8443"),
        (["--key", "web", "--listen", "127.0.0.1:0", "--wait", "-1"], "--wait"),
        (
            ["--key", "web", "--listen", "127.0.0.1:0", "--wait", "+1"],
            "'+1' is invalid for '--wait <seconds>': it is a number from 0 to 86400"
        ),
        (
            ["--key", "web", "--listen", "127.0.0.1:0", "--idle-timeout", "3601"],
            "'--idle-timeout <seconds>': it is a number from 1 to 3600"
        ),
        (["--key", "web", "--listen", "127.0.0.1:0", "--max-connections", "0"], "from 1 to 16384"),
        (["--key", "web", "--listen", "127.0.0.1:0", "rest"], "'rest'"),
        (["--key", "web", "--listen", "127.0.0.1:0", "--none"], "'--none'"),
    ])
    func faultyCommandLines(_ arguments: [String], _ message: String) throws {
        let (status, output, errors) = try Program.run(Program.built("keybroker-tls-demo"), arguments)
        #expect(status == 64)
        #expect(output.isEmpty)
        #expect(errors.contains(message), "\(errors)")
    }

    @Test func helpAndVersion() throws {
        let program = Program.built("keybroker-tls-demo")
        for option in ["--help", "-h"] {
            let (status, output, errors) = try Program.run(program, [option])
            #expect(status == 0)
            #expect(errors.isEmpty)
            for name in [
                "key", "listen", "provider", "certificate", "broker-socket", "wait", "key-path", "idle-timeout",
                "max-connections",
            ] { #expect(output.contains("--\(name) <")) }
            #expect(output.contains("--sign "))
            #expect(output.contains("openssl pkey -pubin -outform DER | sha256sum\n"))
        }
        let version = try Program.run(program, ["--version"])
        #expect(version.status == 0)
        #expect(version.output.contains(#/^keybroker-tls-demo \d+\.\d+\.\d+\n$/#))
    }

    @Test func whatItCannotServeWith() throws {
        let server = try DemoServer(folder)
        let program = Program.built("keybroker-tls-demo")
        func refused(_ arguments: [String]) throws -> (Int32, String) {
            let (status, _, errors) = try Program.run(program, arguments)
            return (status, errors)
        }
        let broker = ["--broker-socket", server.daemon.socket, "--listen", "127.0.0.1:0"]
        #expect(try refused(["--key", "web", "--broker-socket", folder["none"], "--listen", "127.0.0.1:0"]).0 == 69)
        #expect(try refused(["--key", "other"] + broker).0 == 77)
        // No line of the policy names the account that runs the tests yet.
        try folder.write(
            "policy",
            "key web \(folder["key"]) certificate \(folder["crt"])\nkey alone \(folder["key"])\n"
                + "key mixed \(folder["key"]) certificate \(folder["other"])\npermit \(geteuid()) key web alone mixed\n"
        )
        _ = try server.daemon.reload()
        try folder.shell(
            "openssl req -x509 -newkey ed25519 -nodes -subj /CN=x -keyout /dev/null -out other 2>/dev/null")
        let alone = try refused(["--key", "alone"] + broker)
        #expect(alone.0 == 78 && alone.1.contains("the policy names no certificate"))
        let mixed = try refused(["--key", "mixed"] + broker)
        #expect(mixed.0 == 78 && mixed.1.contains("the key does not belong to the certificate"))
        let taken = try refused([
            "--key", "web", "--broker-socket", server.daemon.socket, "--listen", "unix:\(folder["www/s"])",
        ])
        #expect(taken.0 == 71 && taken.1.contains("another program does"))
        try folder.write("www/file", "precious")
        let file = try refused([
            "--key", "web", "--broker-socket", server.daemon.socket, "--listen", "unix:\(folder["www/file"])",
        ])
        #expect(file.0 == 71)
        #expect(try folder.text("www/file") == "precious")
    }
}
