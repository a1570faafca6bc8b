// Every way of signing, verified by the openssl program; and keys that cannot be used.

import Foundation
import SignerControl
import TestSupport
import Testing
import Wire

@Suite(.enabled(if: installed("openssl") != nil, "needs openssl: it makes keys and verifies signatures"))
struct SignatureTests {
    /// Whether openssl accepts the signature with the public key that the channel told.
    private func accepts(_ bench: Bench, _ client: ChannelClient, _ message: [UInt8], _ scheme: UInt16) throws -> Bool {
        let files = (key: "key-\(scheme).der", message: "message-\(scheme)", signature: "signature-\(scheme)")
        try bench.folder.write(files.key, Data(client.publicKey))
        try bench.folder.write(files.message, Data(message))
        try bench.folder.write(files.signature, Data(try client.signature(message, scheme)))
        let hashes: [UInt16: String] = [
            0x0401: "sha256", 0x0403: "sha256", 0x0804: "sha256", 0x0501: "sha384", 0x0503: "sha384", 0x0805: "sha384",
            0x0601: "sha512", 0x0603: "sha512", 0x0806: "sha512",
        ]
        let key = ["-keyform", "DER"]
        let arguments: [String]
        if let hash = hashes[scheme] {
            let pss =
                scheme >> 8 == 0x08 ? ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"] : []
            arguments =
                ["dgst", "-\(hash)", "-verify", bench.folder[files.key]] + key + pss
                + ["-signature", bench.folder[files.signature], bench.folder[files.message]]
        } else {
            arguments =
                ["pkeyutl", "-verify", "-pubin", "-inkey", bench.folder[files.key]] + key
                + ["-rawin", "-in", bench.folder[files.message], "-sigfile", bench.folder[files.signature]]
        }
        let result = try Program.run(installed("openssl") ?? "openssl", arguments)
        if result.status != 0 { print("openssl: \(result.output)\(result.errors)") }
        return result.status == 0
    }

    @Test(
        arguments: [
            ("EC", "ec_paramgen_curve:P-256", [0x0403]), ("EC", "ec_paramgen_curve:P-384", [0x0503]),
            ("EC", "ec_paramgen_curve:P-521", [0x0603]),
            ("RSA", "rsa_keygen_bits:2048", [0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601]),
            ("RSA", "rsa_keygen_bits:3072", [0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601]),
            ("RSA", "rsa_keygen_bits:4096", [0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601]),
            ("ED25519", nil, [0x0807]), ("ED448", nil, [0x0808]),
        ] as [(String, String?, [UInt16])])
    func signaturesVerify(_ algorithm: String, _ option: String?, _ schemes: [UInt16]) throws {
        let bench = try Bench("signatures")
        let key =
            if let option { try bench.makeKey("key", algorithm, option) } else {
                try bench.makeKey("key", algorithm)
            }
        let (number, client) = try bench.open(key)
        #expect(client.schemes == schemes)
        for scheme in schemes {
            #expect(try accepts(bench, client, handshake(), scheme), "\(scheme)")
            #expect(try accepts(bench, client, [UInt8](repeating: 3, count: 16384), scheme), "\(scheme)")
        }
        // A way in which another key signs, and one that there is not.
        for scheme in [0x0403, 0x0804, 0x0807, 0x0808, 0x0201, 0] as [UInt16] where !schemes.contains(scheme) {
            guard case .malformed? = try client.sign(handshake(), scheme) else {
                Issue.record("\(scheme)")
                continue
            }
        }
        // With a use, nothing is signed that TLS 1.3 does not sign.
        let (_, bound) = try bench.open(key, .tlsServer)
        #expect(bound.schemes == schemes.filter { $0 & 0xFF != 1 })
        #expect(bound.publicKey == client.publicKey)
        for scheme in schemes {
            let reply = try bound.sign(handshake(), scheme)
            if case .signature? = reply {
                #expect(bound.schemes.contains(scheme))
            } else {
                #expect(!bound.schemes.contains(scheme))
            }
        }
        bench.signer.end(number)
    }

    @Test func keysThatCannotBeUsed() throws {
        let bench = try Bench("faults")
        let openssl = installed("openssl") ?? "openssl"
        func made(_ name: String, _ arguments: [String]) throws -> String {
            let result = try Program.run(
                openssl, arguments.prefix(1) + ["-out", bench.folder[name]] + arguments.dropFirst())
            guard result.status == 0 else { throw Waited(description: "openssl \(arguments): \(result.errors)") }
            return bench.folder[name]
        }
        let good = try String(contentsOfFile: try bench.makeECKey(), encoding: .utf8)
        let faults: [(file: String, says: String)] = [
            (
                try made("encrypted", ["pkcs8", "-topk8", "-in", bench.folder["ec"], "-passout", "pass:x"]),
                "passphrase"
            ),
            (try made("public", ["pkey", "-in", bench.folder["ec"], "-pubout"]), "no private key"),
            (try bench.makeKey("small", "RSA", "rsa_keygen_bits:1024"), "RSA, 1024 bits"),
            (try bench.makeECKey("koblitz", "secp256k1"), "EC, 256 bits"),
            (try bench.makeKey("x25519", "X25519"), "X25519"),
            (try bench.makeKey("pss", "RSA-PSS", "rsa_keygen_bits:2048"), "RSA-PSS"),
            (try made("dsa", ["dsaparam", "-noout", "-genkey", "1024"]), "DSA"),
            (try bench.folder.write("empty", ""), "empty"),
            (try bench.folder.write("text", "hello\n"), "no private key"),
            (try bench.folder.write("cut", String(good.dropLast(90))), "cannot be used"),
            (try bench.folder.write("big", String(repeating: " ", count: 1 << 20) + good), "EFBIG"),
            (bench.folder.path, "cannot be read"), ("/dev/null", "cannot be read"),
        ]
        for (file, says) in faults {
            let (number, client) = try bench.request(file)
            guard case .unusable(channel: number, reason: let reason) = try bench.report() else {
                Issue.record("\(file) is used")
                continue
            }
            #expect(reason.contains(says), "\(file): \(reason)")
            #expect(try client.receive() == nil)
        }
        // The signer goes on.
        let (_, client) = try bench.open(bench.folder["ec"])
        #expect(try client.signature([1], 0x0403).count > 60)
    }

    /// The private half of one key and the public half of another, in one file.
    @Test func halvesThatDoNotBelongTogether() throws {
        let bench = try Bench("halves")
        let openssl = installed("openssl") ?? "openssl"
        for name in ["one", "two"] {
            _ = try bench.makeECKey(name)
            let arguments = ["ec", "-in", bench.folder[name], "-outform", "DER", "-out", bench.folder[name + ".der"]]
            #expect(try Program.run(openssl, arguments).status == 0)
        }
        // ECPrivateKey (RFC 5915): the public half comes last.
        let (one, two) = (
            try Data(contentsOf: URL(fileURLWithPath: bench.folder["one.der"])),
            try Data(contentsOf: URL(fileURLWithPath: bench.folder["two.der"]))
        )
        #expect(one.count == two.count)
        let mixed = (one.dropLast(65) + two.suffix(65)).base64EncodedString(options: .lineLength64Characters)
        let file = try bench.folder.write(
            "mixed", "-----BEGIN EC PRIVATE KEY-----\n\(mixed)\n-----END EC PRIVATE KEY-----\n")
        let (number, _) = try bench.request(file)
        guard case .unusable(channel: number, _) = try bench.report() else {
            Issue.record("a broken key is used")
            return
        }
    }
}
