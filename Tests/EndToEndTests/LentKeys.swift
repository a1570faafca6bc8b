// A daemon that lends keys, for the tests of signing channels.

import Foundation
import TestSupport
import Testing

struct LentKeys {
    let folder: TemporaryFolder
    let daemon: Daemon

    /// The keys `web` (EC, with a certificate), `rsa`, and `none`, which is no key.
    init(_ name: String, _ permits: String, options: [String] = []) throws {
        folder = TemporaryFolder(name)
        try folder.directory("keys")
        try folder.directory("etc")
        try folder.shell(
            """
            openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out keys/web
            openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out keys/rsa
            echo 'NO KEY' > keys/none; chmod 600 keys/*; echo CERTIFICATE > keys/web.crt
            """)
        try folder.write("etc/policy", Self.policy(folder, permits))
        daemon = try Daemon(
            folder, policy: "", options: options + ["--user", "61913"], policyPath: folder["etc/policy"])
        if !options.contains("none") { try wait("signer running") }
    }

    private static func policy(_ folder: TemporaryFolder, _ permits: String) -> String {
        """
        key web \(folder["keys/web"]) certificate \(folder["keys/web.crt"])
        key rsa \(folder["keys/rsa"])
        key none \(folder["keys/none"])
        \(permits)

        """
    }

    @discardableResult
    func reload(_ permits: String) throws -> String {
        try folder.write("etc/policy", Self.policy(folder, permits))
        return try daemon.reload()
    }

    func client(_ uid: UInt32) throws -> Signing {
        Signing(try PeerProcess(daemon.socket, uid: uid, script: "signs.py"))
    }

    func status(_ request: String = "1S") throws -> String {
        try PeerProcess(daemon.socket, uid: 0).ask(request).packet
    }

    /// Asks for the status until it has this line.
    func wait(_ line: String) throws {
        try waitUntil("the status has \(line)") { try status().split(separator: "\n").contains { $0 == line } }
    }

    /// The records of ends of channels, when there are so many.
    func ends(_ count: Int) throws -> [[String: Any]] {
        var ends: [[String: Any]] = []
        try waitUntil("\(count) channels have ended") {
            ends = try daemon.records().filter { $0["event"] as? String == "channel" }
            return ends.count >= count
        }
        return ends
    }

    /// The program keybroker-signer, and the process of it that signs.
    func signer() throws -> (keeper: Int32, worker: Int32) {
        for keeper in OtherProcess.children(of: daemon.pid)
        where OtherProcess.name(of: keeper)?.hasPrefix("keybroker-sign") == true {
            if let worker = OtherProcess.children(of: keeper).first { return (keeper, worker) }
        }
        throw Waited(description: "there is no signer")
    }
}

/// A client of signing channels. See Peers/signs.py.
struct Signing {
    let peer: PeerProcess

    init(_ peer: PeerProcess) { self.peer = peer }

    func open(_ key: String) throws -> Opened { Opened(try peer.step("open \(key)")) }
    func reply() throws -> Opened { Opened(try peer.step("reply")) }

    /// The kind of the reply to a handshake: `K` for a signature.
    func sign(_ count: Int = 1) throws -> String { try peer.step("sign \(count)")["kind"] as? String ?? "" }
    func other(_ text: String) throws -> String { try peer.step("other \(text)")["kind"] as? String ?? "" }
}

/// The reply to a request for a channel.
struct Opened {
    let packet: String
    let result: [String: Any]

    init(_ result: [String: Any]) {
        self.result = result
        packet = result["packet"] as? String ?? "\(result)"
    }

    var status: String { String(packet.dropFirst().prefix(1)) }
    var decision: Int { Int(packet.dropFirst(2).prefix { $0.isNumber }) ?? -1 }
    var descriptors: Int { result["descriptors"] as? Int ?? 0 }
}
