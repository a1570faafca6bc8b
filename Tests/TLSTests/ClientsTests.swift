// The demo server with difficult clients: many at once, silent ones, slow ones, too large requests, bad moments.

import Foundation
import TestSupport
import Testing

@Suite(.serialized) struct ClientsTests {
    private let folder = TemporaryFolder("clients")

    private func served(_ options: [String] = [], wrapper: [String] = []) throws -> (DemoServer, Clients) {
        let server = try DemoServer(folder, options: options, wrapper: wrapper)
        return (server, try Clients(trusting: folder["crt"]))
    }

    @Test func pipelinedRequestsAreAnsweredInOrder() throws {
        let (server, client) = try served()
        try client("tls a \(server.ip4)")
        try client(
            "send a \(get("/none"))\(get())DELETE / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n\(get("/?x", "Connection: close\\r\\n"))"
        )
        #expect(try client.status("a") == 404)
        #expect(try client.status("a") == 200)
        let refused = try client("receive a")
        #expect(refused["status"] as? Int == 405)
        #expect((refused["headers"] as? [String: String])?["allow"] == "GET, HEAD")
        let last = try client("receive a")
        #expect((last["headers"] as? [String: String])?["connection"] == "close")
        #expect((last["body"] as? String)?.contains("<h1>") == true)
        let end = try client("end a")
        #expect(end["goodbye"] as? Bool == true && end["data"] as? String == "", "\(end)")
    }

    @Test func aBodyIsNeverTheNextRequest() throws {
        let (server, client) = try served()
        // The body is larger than the part that the server reads. The response must arrive all the same.
        for (fields, status) in [
            ("Content-Length: 300000", 413), ("Transfer-Encoding: chunked", 501), ("Content-Length: x", 400),
            ("Content-Length: 3\\r\\nTransfer-Encoding: chunked", 501),
        ] {
            try client("tls a \(server.ip4)")
            try client("send a POST / HTTP/1.1\\r\\nHost: a\\r\\n\(fields)\\r\\n\\r\\n")
            try client("flood a 300 \(get())\(String(repeating: "x", count: 900))")
            #expect(try client.status("a") == status, "\(fields)")
            let end = try client("end a")
            #expect(end["goodbye"] as? Bool == true && end["data"] as? String == "", "\(end)")
        }
    }

    @Test func slowClientsAreTimedFromTheStartAndNotFromTheLastByte() throws {
        let (server, client) = try served(["--idle-timeout", "3"])
        let other = try Clients(trusting: folder["crt"])
        // A handshake whose first record never ends.
        try client("tcp handshake \(server.ip4)")
        try client("send handshake \\x16\\x03\\x01\\x02\\x00")
        try client.begin("drip handshake \\x01")
        try other("tls a \(server.ip4)")
        try other("send a \(get())")
        #expect(try other.status("a") == 200)
        let handshake = try #require(try client.finish()["seconds"] as? Double)
        #expect((2.9..<20).contains(handshake), "\(handshake)")
        // A request head that never ends.
        try client("tls head \(server.ip4)")
        try client("send head GET / HTTP/1.1\\r\\nX: ")
        let head = try #require(try client("drip head x")["seconds"] as? Double)
        #expect((2.9..<20).contains(head), "\(head)")
        // An idle connection is told that it is closed.
        try client("tls idle \(server.ip4)")
        try client("send idle \(get())")
        #expect(try client.status("idle") == 200)
        #expect(try client("end idle")["goodbye"] as? Bool == true)
    }

    @Test func oneWhoDoesNotReadIsClosedAndHoldsUpNobody() throws {
        let (server, client) = try served(["--idle-timeout", "2"])
        let other = try Clients(trusting: folder["crt"])
        try client("tls greedy \(server.ip4)")
        try client.begin("flood greedy 500000 \(get("/"))")
        for number in 0..<20 {
            try other("tls \(number) \(server.ip4)")
            try other("send \(number) \(get())")
            #expect(try other.status("\(number)") == 200)
        }
        // The server does not read from a client that does not read, so nothing piles up in the server.
        #expect(try client.finish()["stuck"] as? Bool == true)
        // The client does not read its response, and the time for that is over.
        try other("tls late \(server.ip4)")
        #expect(try other("end late")["goodbye"] as? Bool == true)
        let end = try client("end greedy")
        #expect(end["goodbye"] as? Bool == false && (end["data"] as? String)?.hasPrefix("HTTP/1.1 200 OK") == true)
        #expect(server.program.isRunning)
    }

    @Test func manyPipelinedRequestsAllAnswered() throws {
        let (server, client) = try served()
        try client("tls a \(server.ip4)")
        try client("flood a 100 \(String(repeating: get(), count: 5))")
        #expect(try client("count a 500")["ok"] as? Int == 500)
    }

    @Test func pastTheLimitNewClientsWait() throws {
        let (server, client) = try served(["--max-connections", "2"])
        let next = try Clients(trusting: folder["crt"])
        try client("tls a \(server.ip4)")
        try client("tls b \(server.addresses[2])")
        try next.begin("tls c \(server.ip4)")
        // Clients that are connected are served, from any address.
        for name in ["a", "b", "a", "b"] {
            try client("send \(name) \(get())")
            #expect(try client.status(name) == 200)
        }
        #expect(next.program.lines().isEmpty)
        // One leaves, and the next comes in.
        try client("close a")
        #expect(try next.finish()["version"] as? String == "TLSv1.3")
        try next("send c \(get())")
        #expect(try next.status("c") == 200)
    }

    @Test func withoutDescriptorsItWaitsAndDoesNotSpin() throws {
        let prlimit = try #require(installed("prlimit"))
        let (server, client) = try served(["--idle-timeout", "3"], wrapper: [prlimit, "--nofile=14:14"])
        for number in 0..<20 { try client("tcp \(number) \(server.ip4)") }
        try server.program.wait(for: "a word on it", in: .error) {
            $0.contains("new clients have to wait") ? true : nil
        }
        let before = try server.processorSeconds()
        // The connections that use up the descriptors are timed out, and then all others are served.
        try client("tls late \(server.ip4)")
        try client("send late \(get())")
        #expect(try client.status("late") == 200)
        #expect(try server.processorSeconds() - before < 1)
    }

    @Test func aStopFinishesWhatWasBegunAndRefusesWhatWasNot() throws {
        let (server, client) = try served()
        for name in ["begun", "idle"] { try client("tls \(name) \(server.ip4)") }
        try client("send idle \(get())")
        #expect(try client.status("idle") == 200)
        try client("send begun GET / HTTP/1.1\\r\\n")
        // A request on another connection makes sure that the loop has read the first one before the signal comes.
        try client("tls c \(server.ip4)")
        try client("send c \(get("/", "Connection: close\\r\\n"))")
        #expect(try client.status("c") == 200)
        server.program.signal(SIGTERM)
        // The idle client is told. From here on, the stop has begun.
        #expect(try client("end idle")["goodbye"] as? Bool == true)
        #expect((try client("tcp late \(server.ip4)")["error"] as? String)?.contains("refused") == true)
        #expect(!FileManager.default.fileExists(atPath: folder["www/s"]))
        try client("send begun Host: a\\r\\n\\r\\n")
        let response = try client("receive begun")
        #expect(response["status"] as? Int == 200)
        #expect((response["headers"] as? [String: String])?["connection"] == "close")
        #expect(try client("end begun")["goodbye"] as? Bool == true)
        try client("close begun")
        #expect(try server.program.waitForExit() == 0)
    }

    @Test func aStopDoesNotWaitForEver() throws {
        let (server, client) = try served(["--idle-timeout", "600"])
        try client("tls a \(server.ip4)")
        try client("send a GET / HT")
        try client("tcp b \(server.ip4)")
        let start = Date()
        server.program.signal(SIGTERM)
        server.program.signal(SIGTERM)
        #expect(try server.program.waitForExit() == 0)
        #expect(Date().timeIntervalSince(start) < 10)
    }

    @Test func aRenewalKeepsOldConnectionsWithTheOldKey() throws {
        let (server, client) = try served()
        func fingerprint(_ name: String) throws -> String {
            try client("send \(name) \(get())")
            let body = try client("receive \(name)")["body"] as? String ?? ""
            let facts = try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: String]
            return facts?["fingerprint"] ?? ""
        }
        try client("tls old \(server.ip4)")
        let first = try fingerprint("old")
        #expect(first.count == 64)
        try folder.shell(
            "openssl req -x509 -newkey ed25519 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost "
                + "-keyout key2 -out crt2 2>/dev/null; chmod 600 key2; cp crt2 trusted; mv key2 key; mv crt2 crt")
        server.program.signal(SIGHUP)
        try server.program.wait(for: "renewal") { $0.contains("renewed: key web, decision") ? true : nil }
        #expect(try fingerprint("old") == first)
        // A client that trusts only the old certificate refuses the new one, and the reverse.
        #expect(
            (try client("tls new \(server.ip4)")["error"] as? String)?.contains("CERTIFICATE_VERIFY_FAILED") == true)
        let trusting = try Clients(trusting: folder["trusted"])
        #expect(try trusting("tls new \(server.ip4)")["version"] as? String == "TLSv1.3")
        // If the new key is denied, the server keeps its key, and says so.
        try folder.write("policy", "key web \(folder["key"])\n")
        _ = try server.daemon.reload()
        server.program.signal(SIGHUP)
        try server.program.wait(for: "refusal", in: .error) {
            $0.contains("keeps the old key and certificate: key 'web': not permitted") ? true : nil
        }
        #expect(try trusting("tls still \(server.ip4)")["version"] as? String == "TLSv1.3")
    }

    @Test func strangeTalk() throws {
        let (server, client) = try served()
        for (name, talk) in [("http", get()), ("noise", "\\x00\\xff\\x80 nonsense"), ("none", "")] {
            try client("tcp \(name) \(server.ip4)")
            if !talk.isEmpty { try client("send \(name) \(talk)") }
            try client("close \(name)")
        }
        for (request, status) in [
            ("nonsense\\r\\n\\r\\n", 400), ("GET / HTTP/1.1\\r\\n\\r\\n", 400),
            ("GET / HTTP/3.0\\r\\nHost: a\\r\\n\\r\\n", 505),
            ("GET /\(String(repeating: "x", count: 9000))", 414),
            ("GET / HTTP/1.1\\r\\nX: \(String(repeating: "x", count: 9000))", 431),
        ] {
            try client("tls a \(server.ip4)")
            try client("send a \(request)")
            #expect(try client.status("a") == status, "\(request.prefix(40))")
            #expect(try client("end a")["goodbye"] as? Bool == true)
        }
        // An HTTP/1.0 connection ends after one request. The response to HEAD has no body.
        try client("tls old \(server.ip4)")
        try client("send old GET /status.json HTTP/1.0\\r\\n\\r\\n")
        #expect(try client.status("old") == 200)
        #expect(try client("end old")["goodbye"] as? Bool == true)
        try client("tls head \(server.ip4)")
        try client("send head HEAD / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
        let end = try client("end head")
        #expect((end["data"] as? String)?.hasSuffix("\r\n\r\n") == true && end["goodbye"] as? Bool == true)
        #expect(server.program.isRunning)
    }
}
