// The parts of the demo server that are pure functions: addresses, requests, keys.

import Foundation
import Kernel
import PEM
import Streams
import TestSupport
import Testing

@testable import TLS
@testable import keybroker_tls_demo

struct AddressTests {
    @Test func addresses() throws {
        #expect(try Address("127.0.0.1:8443") == .ip4("127.0.0.1", port: 8443))
        #expect(try Address("[::1]:0") == .ip6("::1", port: 0))
        #expect(try Address("unix:/run/x.sock") == .unix("/run/x.sock"))
        #expect(try Address("[::1]:8443").url == "https://[::1]:8443/")
    }

    @Test(arguments: [
        "", "8443", ":8443", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+1",
        "localhost:1",
        "::1:8443", "[127.0.0.1]:1", "[::1]", "unix:", "unix:relative", "1.2.3:1",
        "unix:/\(String(repeating: "x", count: 107))",
    ])
    func whatIsNoAddress(_ text: String) {
        #expect(throws: Address.Malformed.self) { try Address(text) }
    }
}

struct HTTPTests {
    private func parse(_ text: String) -> HTTPRequest.Parsed { HTTPRequest.parse(Array(text.utf8)[...]) }

    private func keepsAlive(_ text: String) -> Bool? {
        if case .complete(let request, _) = parse(text) { request.keepsAlive } else { nil }
    }

    @Test func requests() {
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        #expect(
            parse(get) == .complete(HTTPRequest(method: "GET", path: "/", keepsAlive: true), length: get.utf8.count))
        // What follows belongs to the next request.
        #expect(parse(get + get) == parse(get))
        #expect(parse("\r\n" + get) != .incomplete)
        #expect(keepsAlive("GET /x HTTP/1.0\r\n\r\n") == false)
        #expect(keepsAlive("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n") == false)
    }

    @Test func everyBeginningOfARequestIsIncomplete() {
        let get = "GET /status.json HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n"
        for length in 0..<get.utf8.count {
            #expect(HTTPRequest.parse(Array(get.utf8)[..<length]) == .incomplete)
        }
    }

    @Test(arguments: [
        ("GET / HTTP/1.1\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400), ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400), ("GET / FTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\u{1}\r\n\r\n", 400), ("nonsense\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /", 413),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
    ])
    func faultyRequests(_ text: String, _ status: Int) { #expect(parse(text) == .faulty(status)) }

    @Test func longHeads() {
        #expect(parse("GET /" + String(repeating: "x", count: 9000)) == .faulty(414))
        #expect(parse("GET / HTTP/1.1\r\nX: " + String(repeating: "x", count: 9000)) == .faulty(431))
        #expect(parse("GET / HTTP/1.1\r\nX: " + String(repeating: "x", count: 9000) + "\r\n\r\n") == .faulty(431))
    }

    @Test func everySingleByteIsNoCrash() {
        for byte in UInt8.min...UInt8.max {
            _ = HTTPRequest.parse([byte])
            _ = HTTPRequest.parse([byte, 0x0D, 0x0A, 0x0D, 0x0A])
        }
    }
}

struct KeyTests {
    private let folder = TemporaryFolder("keys")

    private func openssl(_ line: String) throws { try folder.shell("openssl \(line) 2>/dev/null") }
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

    @Test func fingerprintAndKind() throws {
        try openssl("req -x509 -newkey rsa:2048 -nodes -subj /CN=a -keyout rsa.key -out rsa.crt")
        try openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=b -keyout ec.key -out ec.crt")
        try openssl("req -x509 -newkey ed25519 -nodes -subj /CN=c -keyout ed.key -out ed.crt")
        for (name, kind) in [("rsa", "RSA, 2048 bits"), ("ec", "EC, 256 bits"), ("ed", "ED25519, 256 bits")] {
            try folder.shell(
                "openssl x509 -in \(name).crt -pubkey -noout | openssl pkey -pubin -outform DER | sha256sum | cut -c1-64 > sum"
            )
            try withKey("\(name).key") { key in
                #expect(key.kind == kind || kind.hasPrefix("ED25519") && key.kind.hasPrefix("ED25519"))
                #expect(key.publicFingerprint + "\n" == (try folder.text("sum")))
                _ = try context(key, "\(name).crt")
            }
        }
        // A key that does not match the certificate, and a file that is not a key.
        try withKey("ec.key") { key in
            #expect { _ = try context(key, "rsa.crt") } throws: { error in
                "\(error)".hasPrefix("the key does not belong to the certificate")
            }
            #expect { _ = try context(key, "ec.key") } throws: { error in
                "\(error)".hasPrefix("the certificate is not an X.509 certificate")
            }
        }
    }

    @Test func keysThatCannotBeUsed() throws {
        try openssl("genpkey -algorithm ED25519 -aes256 -pass pass:secret -out encrypted.key")
        try folder.write("empty", "")
        try folder.write("garbage", "-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n")
        for name in ["encrypted.key", "empty", "garbage"] {
            #expect(throws: LibraryFailure.self) { try withKey(name) { _ in } }
        }
    }
}
