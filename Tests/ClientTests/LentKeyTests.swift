// Keys that stay with the broker: the library with the real daemon and the real signer.

import Foundation
import KeyBrokerClient
import TestSupport
import Testing

@Suite(.enabled(if: installed("openssl") != nil, "needs openssl: it makes keys and verifies signatures"))
struct LentKeyTests {
    private let folder = TemporaryFolder("lent-key")

    /// A daemon that lends a key for handshakes of TLS 1.3 servers.
    private func daemon() throws -> Daemon {
        try makeKey()
        try folder.write("crt", "THE CERTIFICATE")
        return try Daemon(folder, policy: policy("permit \(geteuid()) sign k for tls-server"))
    }

    private func policy(_ line: String) -> String {
        "key k \(folder["key"]) certificate \(folder["crt"])\n\(line)\n"
    }

    private func makeKey() throws {
        try folder.shell(
            "openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out new && chmod 600 new && mv new key"
        )
    }

    /// What a TLS 1.3 server signs (RFC 8446, 4.4.3).
    private let handshake =
        [UInt8](repeating: 0x20, count: 64) + Array("TLS 1.3, server CertificateVerify\0".utf8)
        + [UInt8](repeating: 7, count: 32)

    private func failure(_ body: () throws(KeyBrokerError) -> Void) -> KeyBrokerError? {
        do throws(KeyBrokerError) {
            try body()
            return nil
        } catch { return error }
    }

    /// A signature of the handshake. A busy machine may take longer than the second for which the client waits.
    private func signature(by signer: inout Signer) throws -> [UInt8] {
        let deadline = Date(timeIntervalSinceNow: 20)
        while true {
            do throws(KeyBrokerError) { return try signer.sign(handshake, scheme: .ecdsaP256SHA256) } catch {
                guard case .noSignature = error, Date() < deadline else { throw error }
            }
        }
    }

    @Test func aHandshakeAndNothingElse() throws {
        let daemon = try daemon()
        var signer = try KeyBroker(socketPath: daemon.socket).signer("k", waitingUpTo: .seconds(10))
        #expect(signer.schemes == [.ecdsaP256SHA256])
        switch try signer.readCertificate() {
        case .some(let bytes): #expect(bytes.copiedBytes() == Array("THE CERTIFICATE".utf8))
        case .none: Issue.record("no certificate")
        }
        try folder.write("message", Data(handshake))
        try folder.write("public.der", Data(signer.publicKey))
        try folder.write("signature", Data(try signer.sign(handshake, scheme: .ecdsaP256SHA256)))
        try folder.shell(
            "openssl pkey -pubin -inform DER -in public.der -out public.pem && "
                + "openssl dgst -sha256 -verify public.pem -signature signature message")
        let refused = failure { () throws(KeyBrokerError) in
            _ = try signer.sign("a request for a certificate".utf8, scheme: .ecdsaP256SHA256)
        }
        guard case .messageDenied("k", let decision, "the message is not of the permitted use") = refused else {
            throw Waited(description: "\(String(describing: refused))")
        }
        #expect(decision == signer.decision)
        #expect(try daemon.record(Int(decision))["uses"] as? String == "tls-server")
        do {
            var clone = try signer.clone()
            _ = try clone.sign(handshake, scheme: .ecdsaP256SHA256)
        }
        // The key itself is not permitted.
        let key = failure { () throws(KeyBrokerError) in _ = try KeyBroker(socketPath: daemon.socket).key("k") }
        #expect(key?.exitStatus == 77)
        _ = consume signer
        let end = try #require(try daemon.endedChannels(1).first)
        #expect(end["of"] as? Int == Int(decision) && end["reason"] as? String == "channel-closed")
        #expect(end["signatures"] as? Int == 2 && end["refused"] as? Int == 1 && end["clones"] as? Int == 1)
        try daemon.stop()
    }

    @Test func itOutlivesARestartButNotItsPermissionOrItsKey() throws {
        let daemon = try daemon()
        var signer = try KeyBroker(socketPath: daemon.socket).signer("k", waitingUpTo: .seconds(10))
        #expect(try !signature(by: &signer).isEmpty)
        try daemon.stop()
        try daemon.restart()
        #expect(try !signature(by: &signer).isEmpty)
        // The permission.
        try folder.write("policy", policy("permit \(geteuid()) key k"))
        _ = try daemon.reload()
        _ = try daemon.endedChannels(2)
        let denied = failure { () throws(KeyBrokerError) in
            _ = try signer.sign(handshake, scheme: .ecdsaP256SHA256)
        }
        guard case .denied("k", _) = denied else { throw Waited(description: "\(String(describing: denied))") }
        try folder.write("policy", policy("permit \(geteuid()) sign k"))
        _ = try daemon.reload()
        #expect(try !signature(by: &signer).isEmpty)
        // The key. A channel that is open goes on with the old one.
        try makeKey()
        #expect(try !signature(by: &signer).isEmpty)
        try daemon.stop()
        try daemon.restart()
        let changed = failure { () throws(KeyBrokerError) in
            _ = try signer.sign(handshake, scheme: .ecdsaP256SHA256)
        }
        #expect(changed == .keyChanged(key: "k"))
        try daemon.stop()
    }
}
