// The files of the demo server: keys and certificates of every kind, and the file of its socket.

import ArgumentParser
import Foundation
import Kernel
import PEM
import Streams
import TestSupport
import Testing

@testable import TLS
@testable import keybroker_tls_demo

struct FilesTests {
    private let folder = TemporaryFolder("files")

    private func bytes(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: folder[name])))
    }

    private func withKey<R>(_ name: String, _ body: (borrowing PrivateKey) throws -> R) throws -> R {
        let pem = try bytes(name)
        let key = try PrivateKey(pem: pem.span)
        return try body(key)
    }

    private func context(_ key: borrowing PrivateKey, _ name: String) throws -> ServerContext {
        let pem = try bytes(name)
        return try ServerContext(key: key, certificates: pem.span)
    }

    @Test func whyAKeyCannotBeUsed() throws {
        try folder.shell(
            """
            exec 2>/dev/null
            openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out plain
            openssl pkey -in plain -aes256 -passout pass:x -out pkcs8
            openssl rsa -in plain -aes256 -passout pass:x -traditional -out traditional
            openssl pkey -in plain -pubout -out public
            head -c 900 plain > cut
            openssl req -x509 -newkey ed25519 -nodes -subj /CN=a -keyout /dev/null -out certificate
            """)
        try folder.write("empty", "")
        try folder.write("bytes", Data((0..<255).map { $0 }))
        for (name, reason) in [
            ("pkcs8", "is encrypted with a passphrase"), ("traditional", "is encrypted with a passphrase"),
            ("public", "there is no private key in PEM form"), ("certificate", "there is no private key in PEM form"),
            ("bytes", "there is no private key in PEM form"), ("empty", "the private key is empty"),
            ("cut", "the private key cannot be used; make sure that the file is whole"),
        ] {
            #expect { try withKey(name) { _ in } } throws: { error in
                let isSaid = "\(error)".contains(reason)
                if !isSaid { Issue.record("\(name): \(error)") }
                return isSaid
            }
        }
        // Text before the key is skipped, and an old error of OpenSSL is not taken for a new one.
        try folder.shell("cat certificate plain > both")
        try withKey("both") { #expect($0.kind == "RSA, 2048 bits") }
    }

    /// Makes a chain: root → middle → leaf.
    private func makeChain() throws {
        try folder.shell(
            """
            exec 2>/dev/null
            curve='ec -pkeyopt ec_paramgen_curve:prime256v1'
            openssl req -x509 -newkey $curve -nodes -subj /CN=root -keyout root.key -out root.crt
            printf 'basicConstraints=critical,CA:TRUE\\n' > ca.ext
            printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\n' > leaf.ext
            for n in middle leaf; do
                openssl req -new -newkey $curve -nodes -keyout $n.key -subj /CN=$n -out $n.csr
            done
            openssl x509 -req -in middle.csr -CA root.crt -CAkey root.key -extfile ca.ext -out middle.crt
            openssl x509 -req -in leaf.csr -CA middle.crt -CAkey middle.key -extfile leaf.ext -out leaf.crt
            cat leaf.crt middle.crt > chain
            cat middle.crt leaf.crt > reversed
            { cat leaf.crt; head -n 4 middle.crt; printf -- '-----END CERTIFICATE-----\\n'; } > broken
            cat chain leaf.key > withkey
            mkdir live && ln -s ../chain live/fullchain.pem
            chmod 600 leaf.key
            """)
    }

    @Test func chains() throws {
        try makeChain()
        try folder.write("empty", "")
        try withKey("leaf.key") { key in
            for name in ["leaf.crt", "chain", "withkey"] {
                _ = try context(key, name)
            }
            // If a chain is broken, its first part is not used either.
            #expect { _ = try context(key, "broken") } throws: {
                "\($0)".hasPrefix("a certificate in it is broken")
            }
            #expect { _ = try context(key, "reversed") } throws: {
                "\($0)".contains("the server's own certificate comes first")
            }
            #expect { _ = try context(key, "empty") } throws: {
                "\($0)".hasPrefix("the certificate is empty")
            }
        }
    }

    @Test func theWholeChainIsServedFromAPathThatIsALink() throws {
        try makeChain()
        let daemon = try Daemon(folder, policy: "key web \(folder["leaf.key"])\npermit \(geteuid()) key web\n")
        let server = try Program(
            Program.built("keybroker-tls-demo"),
            [
                "--key", "web", "--broker-socket", daemon.socket, "--certificate", folder["live/fullchain.pem"],
                "--listen", "127.0.0.1:0",
            ])
        let url = try server.wait(forLines: 2)[0].split(separator: " ").last.map(String.init) ?? ""
        let (status, output, errors) = try Program.run(
            installed("curl") ?? "curl",
            ["-sS", "--noproxy", "*", "--cacert", folder["root.crt"], url + "status.json"])
        #expect(status == 0, "\(errors)")
        let facts = try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: String]
        #expect(facts?["key_path"] == "not known to this service")
        #expect(facts?["gid"] == String(getegid()))
        #expect(facts?["groups"] != nil)
        server.signal(SIGINT)
        #expect(try server.waitForExit() == 0)
    }

    @Test func textsAreEscaped() throws {
        let rows: [Facts.Row] = [("a", "<b>", "\"&'<>\\\n\u{1}ü")]
        #expect(Page.json(rows) == "{\"a\":\"\\\"&'<>\\\\\\u000a\\u0001\\u00fc\"}\n")
        let html = Page.html(rows)
        #expect(html.contains("<tr><th>&lt;b&gt;<td><code>&quot;&amp;&#39;&lt;&gt;\\\n"))
        let object = try JSONSerialization.jsonObject(with: Data(Page.json(rows).utf8)) as? [String: String]
        #expect(object?["a"] == "\"&'<>\\\n\u{1}ü")
    }

    // MARK: The file of the socket

    /// Makes a listener where there was one just now. A process that another test is starting may hold a copy of that
    /// one's descriptor for a moment, so this tries again.
    private func listener(after address: Address) throws -> StreamListener {
        let deadline = Date(timeIntervalSinceNow: 20)
        while true {
            do { return try StreamListener(address) } catch {
                guard "\(error)".contains("another program does already"), Date() < deadline else { throw error }
            }
        }
    }

    @Test func aStaleSocketIsReplacedAndNothingElse() throws {
        let address = try Address("unix:\(folder["s"])")
        do {
            let first = try StreamListener(address)
            // The first listener is alive, so a second one is refused.
            #expect { _ = try StreamListener(address) } throws: { "\($0)".contains("another program does already") }
            _ = first.address
        }
        // The listener ends and leaves the file behind, as after a crash.
        #expect(FileManager.default.fileExists(atPath: folder["s"]))
        let second = try listener(after: address)
        try second.removeSocket()
        #expect(!FileManager.default.fileExists(atPath: folder["s"]))
        for (name, make) in [("file", "echo x > file"), ("dir", "mkdir dir"), ("link", "ln -s file link")] {
            try folder.shell(make)
            #expect { _ = try StreamListener(try Address("unix:\(folder[name])")) } throws: {
                "\($0)".contains("something that is not a socket; remove it yourself")
            }
        }
        #expect(try folder.text("file") == "x\n")
        #expect { _ = try StreamListener(try Address("unix:\(folder["none/s"])")) } throws: {
            "\($0)".contains("(ENOENT)")
        }
    }

    @Test func atTheEndOnlyItsOwnSocketIsRemoved() throws {
        let address = try Address("unix:\(folder["s"])")
        let first = try StreamListener(address)
        try folder.shell("mv s elsewhere")
        let second = try StreamListener(address)
        try first.removeSocket()
        #expect(FileManager.default.fileExists(atPath: folder["s"]))
        try folder.shell("rm s; echo precious > s")
        try second.removeSocket()
        #expect(try folder.text("s") == "precious\n")
    }

    @Test func portsAndFamilies() throws {
        let four = try StreamListener(try Address("127.0.0.1:0"))
        guard case .ip4("127.0.0.1", let port) = four.address, port > 0 else {
            Issue.record("\(four.address)")
            return
        }
        // An IPv6 listener takes no IPv4 connections, so both can use the same port.
        let six = try StreamListener(.ip6("::1", port: port))
        #expect(six.address == .ip6("::1", port: port))
        #expect { _ = try StreamListener(.ip4("127.0.0.1", port: port)) } throws: { "\($0)".contains("(EADDRINUSE)") }
    }

    // MARK: The command line

    @Test func options() throws {
        func parsed(_ line: String) throws -> Options {
            try Options.parse(line.split(separator: " ").map(String.init))
        }
        let options = try parsed(
            "--key k --listen 127.0.0.1:0 --listen unix:/s --wait 3 --idle-timeout 9 --max-connections 7")
        #expect(options.key == "k" && options.addresses.count == 2 && options.wait == 3)
        #expect(options.idleSeconds == 9 && options.maxConnections == 7)
        for line in [
            "", "--key", "--key k", "--listen unix:/s", "--key k --listen x", "--key k --listen unix:/s --wait -1",
            "--key k --listen unix:/s --wait +1", "--key k --listen unix:/s --wait 1.5",
            "--key k --listen unix:/s --idle-timeout 0", "--key k --listen unix:/s --max-connections 0",
            "--key k --listen unix:/s extra", "--key k --listen unix:/s --wait 99999999999999999999",
        ] {
            #expect(throws: (any Error).self, "\(line)") { try parsed(line) }
        }
    }

    // MARK: HTTP

    @Test(arguments: [
        ("/", "/"), ("/?x=/y", "/"), ("/status.json?", "/status.json"), ("https://h/status.json?x", "/status.json"),
        ("HTTP://h", "/"), ("http://h?x", "/"), ("/http://h/", "/http://h/"),
    ])
    func paths(_ target: String, _ path: String) {
        let parsed = HTTPRequest.parse(Array("GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n".utf8)[...])
        guard case .complete(let request, _) = parsed else {
            Issue.record("\(parsed)")
            return
        }
        #expect(request.path == path)
    }

    @Test(arguments: [
        ("GET * HTTP/1.1\r\nHost: a", 400), ("GET x HTTP/1.1\r\nHost: a", 400), ("GET ?x HTTP/1.1\r\nHost: a", 400),
        ("GET / HTTP/x.y\r\nHost: a", 400), ("GET / HTTP/11\r\nHost: a", 400), ("GET / http/1.1\r\nHost: a", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1", 400), ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length:", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 5", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 00001", 413),
        ("GET / HTTP/1.1\r\nHost: a\rX: b", 400), ("GET / HTTP/1.1\r\nHost: a\r\nNo colon", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nTRANSFER-encoding: identity", 501), ("GET / HTTP/1.1\r\nHost: a\r\n: x", 400),
    ])
    func moreFaults(_ head: String, _ status: Int) {
        #expect(HTTPRequest.parse(Array((head + "\r\n\r\n").utf8)[...]) == .faulty(status))
    }

    @Test func noContentAndLaterVersionsAreFine() {
        for head in [
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0", "GET / HTTP/1.2\r\nHost:",
            "OPTIONS * HTTP/1.1\r\nHost: a",
            "GET / HTTP/1.0",
        ] {
            guard case .complete = HTTPRequest.parse(Array((head + "\r\n\r\n").utf8)[...]) else {
                Issue.record("\(head)")
                continue
            }
        }
        // A line feed alone also ends a line (RFC 9112, section 2.2).
        #expect(HTTPRequest.parse(Array("GET / HTTP/1.1\nHost: a\n\n".utf8)[...]) != .faulty(400))
    }
}
