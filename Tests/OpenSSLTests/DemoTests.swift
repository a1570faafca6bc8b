// keybroker-tls-demo --sign: HTTPS with a key that the server never had, from the daemon to curl.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Provider.isPossible && installed("curl") != nil, "needs a C compiler, make, openssl and curl"))
struct DemoTests {
    private let folder = TemporaryFolder("lent-demo")
    private let uid = isRoot ? 61_034 : geteuid()

    private func policy(_ lines: String) -> String {
        "key web \(folder["key"]) certificate \(folder["crt"])\n\(lines)\n"
    }

    private func daemon(_ lines: String) throws -> Daemon {
        try folder.shell(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost "
                + "-addext subjectAltName=IP:127.0.0.1 -keyout key -out crt 2>/dev/null; chmod 600 key")
        return try Daemon(folder, policy: policy(lines))
    }

    private func command(_ daemon: Daemon, _ options: String...) throws -> [String] {
        let identity = isRoot ? ["--reuid", "\(uid)", "--regid", "\(uid)", "--clear-groups"] : []
        return identity + [
            Program.built("keybroker-tls-demo"), "--key", "web", "--sign", "--provider", try Provider.path.get(),
            "--broker-socket", daemon.socket, "--wait", "10", "--key-path", folder["key"], "--listen", "127.0.0.1:0",
        ] + options
    }

    private func curl(_ address: String, _ options: String...) throws -> (
        status: Int32, output: String, errors: String
    ) {
        try Program.run(
            installed("curl") ?? "curl",
            ["--silent", "--show-error", "--noproxy", "*", "--max-time", "15", "--cacert", folder["crt"]] + options
                + [address])
    }

    @Test func aServerWithoutAKey() throws {
        let daemon = try daemon("permit \(uid) sign web for tls-server")
        let server = try Program(installed("setpriv") ?? "setpriv", command(daemon))
        let address = try server.wait(for: "readiness") { text in
            text.firstMatch(of: #/listening on (https:\S*)\n(?s:.*)ready: /#).map { String($0.1) }
        }
        for handshakes in 1...3 {
            let page = try curl("\(address)status.json")
            #expect(page.status == 0, "\(page.errors)")
            let document = try #require(
                JSONSerialization.jsonObject(with: Data(page.output.utf8)) as? [String: String])
            #expect(document["signed_handshakes"] == "\(handshakes)")
            #expect(document["connection"]?.hasPrefix("TLSv1.3, ") == true)
            #expect(document["other_message"] == "refused: the message is not of the permitted use")
            #expect(document["private_key"]?.contains("never had it") == true)
        }
        #expect(try curl(address).output.contains("a key that it never had"))
        #expect(try curl(address, "--tls-max", "1.2").status != 0)
        // The policy takes the permission away: the next handshake fails, and the server says why.
        try folder.write("policy", policy("permit \(uid) key web"))
        _ = try daemon.reload()
        _ = try daemon.endedChannels(2)
        #expect(try curl(address).status != 0)
        try server.wait(for: "the refusal", in: .error) {
            $0.contains("a handshake was not signed: the key broker does not permit signatures of 'web'") ? true : nil
        }
        // And gives it back, with another key.
        try folder.write("policy", policy("permit \(uid) sign web"))
        try folder.shell(
            "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 "
                + "-keyout key2 -out crt2 2>/dev/null; chmod 600 key2; mv key2 key; mv crt2 crt")
        _ = try daemon.reload()
        server.signal(SIGHUP)
        try server.wait(for: "renewal") { $0.contains("renewed: key web, decision") ? true : nil }
        let open = try curl("\(address)status.json")
        #expect(open.output.contains("is signed as well; write 'for tls-server' in the policy"), "\(open)")
        server.signal(SIGTERM)
        #expect(try server.waitForExit() == 0)
        let ends = try daemon.endedChannels(4)
        #expect(ends.compactMap { $0["signatures"] as? Int }.sorted() == [0, 1, 1, 4], "\(ends)")
        #expect(ends.compactMap { $0["refused"] as? Int }.sorted() == [0, 0, 0, 1], "\(ends)")
        try daemon.stop()
    }

    @Test func whatItCannotServeWith() throws {
        let daemon = try daemon("permit \(uid) key web")
        func refused(_ arguments: [String]) throws -> (Int32, String) {
            let (status, _, errors) = try Program.run(installed("setpriv") ?? "setpriv", arguments)
            return (status, errors)
        }
        let denied = try refused(command(daemon))
        #expect(denied.0 == 77 && denied.1.contains("key 'web': not permitted"), "\(denied)")
        try folder.write("policy", policy("permit \(uid) sign web"))
        _ = try daemon.reload()
        for (path, text) in [
            (folder["none/keybroker.so"], "OpenSSL cannot load the provider 'keybroker'"),
            ("keybroker", "is no path of a provider"),
        ] {
            let result = try refused(command(daemon, "--provider", path))
            #expect(result.0 == 78 && result.1.contains(text), "\(result)")
        }
        let usage = try Program.run(
            Program.built("keybroker-tls-demo"),
            ["--key", "web", "--listen", "127.0.0.1:0", "--provider", "/x/keybroker.so"])
        #expect(usage.status == 64 && usage.errors.contains("--provider goes with --sign"), "\(usage)")
        try daemon.stop()
    }
}
