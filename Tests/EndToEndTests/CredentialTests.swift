// The credential socket: what a service manager gets, and what others who connect to it do not.

import Foundation
import TestSupport
import Testing

@Suite(
    .serialized, .enabled(if: isRoot && UnitGroups.mount != nil, "needs root and cgroup2: the service manager is root"))
struct CredentialTests {
    private let folder = TemporaryFolder("credential")

    private var socket: String { folder["run/credential.sock"] }

    private func daemon(_ permits: String, options: [String] = []) throws -> Daemon {
        try folder.write("web.pem", "THE KEY\n", mode: 0o600)
        try folder.write("web.crt", "THE CERTIFICATE")
        try folder.write("other.pem", "ANOTHER KEY\n", mode: 0o600)
        let keys = """
            key web \(folder["web.pem"]) certificate \(folder["web.crt"])
            key bare \(folder["other.pem"])

            """
        return try Daemon(
            folder, policy: keys + permits, options: ["--credential-socket", socket] + options)
    }

    /// Waits until the daemon has said something on standard error.
    private func said(_ daemon: Daemon, _ text: String) throws {
        try daemon.program.wait(for: text, in: .error) { $0.contains(text) ? true : nil }
    }

    @Test func keysCertificatesAndBundles() throws {
        let daemon = try daemon("permit unit:nginx.service key web bare")
        let manager = try Manager(socket)
        #expect(try manager.load("web", for: "nginx.service") == "THE KEY\n")
        #expect(try manager.load("web.certificate", for: "nginx.service") == "THE CERTIFICATE")
        #expect(try manager.load("web.bundle", for: "nginx.service") == "THE CERTIFICATE\nTHE KEY\n")
        #expect(try manager.load("bare", for: "nginx.service") == "ANOTHER KEY\n")
        let granted = try daemon.records().filter { $0["verb"] as? String == "credential" }
        #expect(granted.count == 4)
        for record in granted {
            #expect(record["decision"] as? String == "granted")
            #expect(record["uid"] as? Int == 0)
            #expect(record["unit"] as? String == "nginx.service")
            #expect(record["pid"] as? Int == Int(manager.program.pid))
            #expect(record["rule"] as? String == "\(folder["policy"]):3")
        }
        // The record tells what of the key was sent.
        #expect(granted.map { $0["file"] != nil } == [true, false, true, true])
        #expect(granted.map { $0["certificate"] != nil } == [false, true, true, false])
        #expect(granted.map { $0["key"] as? String } == ["web", "web", "web", "bare"])
        let status = try Program.run(
            Program.built("keybroker"), ["status", "--socket", daemon.socket]
        ).output
        #expect(status.contains("credential-socket  \(socket)"))
        #expect(status.contains("credentials  0"))
        #expect(try daemon.openDescriptors() < 30)
    }

    /// A key's own name goes before what an ending means.
    @Test func aKeyWithSuchAName() throws {
        let daemon = try daemon(
            "key web.bundle \(folder["other.pem"])\npermit unit:a.service key web web.bundle\n"
                + "permit unit:b.service key web")
        let manager = try Manager(socket)
        #expect(try manager.load("web.bundle", for: "a.service") == "ANOTHER KEY\n")
        #expect(try manager.load("web.bundle", for: "b.service") == "")
        #expect(try manager.load("web.bundle.bundle", for: "a.service") == "")
        #expect(try daemon.records().last?["detail"] as? String == "the policy names no certificate of web.bundle")
    }

    @Test func aRefusalIsEmptyAndSaidAloud() throws {
        try folder.write("empty.pem", "", mode: 0o600)
        try folder.write("large.pem", String(repeating: "x", count: 1 << 20 | 1), mode: 0o600)
        let daemon = try daemon(
            """
            key empty \(folder["empty.pem"])
            key large \(folder["large.pem"])
            key gone \(folder["gone.pem"])
            permit unit:nginx.service key empty large gone bare
            permit 0 key web
            permit www-data unit nginx.service key web
            permit root unit nginx.service key web
            """)
        let manager = try Manager(socket)
        for (id, unit, reason) in [
            // Lines about accounts, root's among them, do not count for a unit.
            ("web", "nginx.service", "no-rule"), ("bare", "ssh.service", "no-rule"),
            ("none", "nginx.service", "unknown-key"),
            ("NO", "nginx.service", "bad-key-name"), ("bare.bundle", "nginx.service", "file-missing"),
            ("empty", "nginx.service", "file-size"), ("large", "nginx.service", "file-size"),
            ("gone", "nginx.service", "file-missing"),
        ] {
            #expect(try manager.load(id, for: unit) == "", "\(id)")
            let record = try #require(try daemon.records().last)
            #expect(record["reason"] as? String == reason, "\(id)")
            #expect(record["verb"] as? String == "credential")
            #expect(record["unit"] as? String == unit)
            try said(daemon, "\(unit) is given an empty credential: \(record["decision"] ?? "") ")
            try said(daemon, "\(reason)")
        }
        #expect(try manager.load("bare", for: "nginx.service") == "ANOTHER KEY\n")
        #expect(try daemon.openDescriptors() < 30)
    }

    // MARK: Who is not the service manager

    @Test func onlyRootCanConnectAndOnlyRootIsBelieved() throws {
        let daemon = try daemon("permit unit:nginx.service key web\npermit 61001 key web")
        let attributes = try FileManager.default.attributesOfItem(atPath: socket)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        #expect(attributes[.ownerAccountID] as? Int == 0)
        let stranger = try Manager(socket, uid: 61001)
        #expect(try stranger.load("web", for: "nginx.service") == "error: PermissionError")
        // Even if the mode were another one.
        try folder.shell("chmod 666 \(socket)")
        #expect(try stranger.load("web", for: "nginx.service") == "")
        let record = try #require(try daemon.records().last)
        #expect(record["reason"] as? String == "not-service-manager")
        #expect(record["uid"] as? Int == 61001)
        #expect(record["unit"] == nil && record["key"] == nil)
        try said(daemon, "uid 61001 is given an empty credential: denied a key: not-service-manager")
        #expect(try Manager(socket).load("web", for: "nginx.service") == "THE KEY\n")
    }

    @Test func rootWithAnotherNameIsNotBelieved() throws {
        let daemon = try daemon("permit unit:nginx.service key web")
        let manager = try Manager(socket)
        for name in [
            "-", "\(folder["bound"])", "@", "@x", "@1/unit/nginx.service/web/", "@1/unit/nginx.service", "@1/unit//web",
            "@1/user/nginx.service/web", "@/unit/nginx.service/web", "@1/unit/nginx.service/",
            "@G/unit/nginx.service/web",
            "@1//unit/nginx.service/web", "@1/unit/../nginx.service/web", "@1/unit/nginx.service/web\\x00",
            "@1/unit/nginx/web", "@1/unit/*.service/web", "@12345678901234567/unit/nginx.service/web",
            "@1/Unit/nginx.service/web", "@1/unit/nginx.service/web\\x0a", "@1/unit/nginx.service/.",
        ] {
            #expect(try manager.load(name, in: "nginx.service") == "", "\(name)")
        }
        let records = try daemon.records().filter { $0["verb"] as? String == "credential" }
        #expect(records.allSatisfy { ["not-service-manager", "folded"].contains($0["reason"] as? String) })
        #expect(records.allSatisfy { $0["decision"] as? String == "denied" })
        // Folded records do not say everything, so the kernel's word is tested by itself.
        #expect(try manager.load("@1/unit/nginx.service/web", in: "nginx.service") == "THE KEY\n")
    }

    /// Root of a container, for example, that has the directory of the socket.
    @Test func rootInAnotherUnitIsNotBelieved() throws {
        let daemon = try daemon("permit unit:nginx.service key web")
        let manager = try Manager(socket)
        for unit in ["container.scope", "nginx.service.d", "user@0.service", "nginx.slice"] {
            #expect(try manager.load("@1/unit/nginx.service/web", in: unit) == "", "\(unit)")
            let record = try #require(try daemon.records().last)
            #expect(record["reason"] as? String == "not-service-manager")
            #expect((record["detail"] as? String)?.hasPrefix("it asks for nginx.service and is in ") == true)
            #expect(record["unit"] as? String != "nginx.service")
        }
        #expect(try manager.load("web", for: "nginx.service") == "THE KEY\n")
    }

    // MARK: The daemon

    @Test func itReadsNoByteOfIt() throws {
        let daemon = try daemon("permit unit:nginx.service key web")
        var loaded = ""
        let lines = try Trace.lines(of: daemon.pid) {
            loaded = try Manager(socket).load("web.bundle", for: "nginx.service")
        }
        #expect(loaded == "THE CERTIFICATE\nTHE KEY\n")
        let about = lines.filter { $0.contains("web.pem>") }
        #expect(about.contains { $0.hasPrefix("sendfile(") })
        // It opens the file, asks for its status, passes it on, and closes it.
        #expect(
            about.allSatisfy { line in
                ["openat(", "fstat(", "newfstatat(", "sendfile(", "close("].contains(where: line.hasPrefix)
            })
    }

    @Test func withoutItsRecordNothingIsSent() throws {
        let daemon = try daemon("permit unit:nginx.service key web")
        let manager = try Manager(socket)
        #expect(try manager.load("web", for: "nginx.service") == "THE KEY\n")
        // Somebody else writes to the log, so the daemon does not.
        try folder.shell("echo '{}' >>\(daemon.audit)")
        #expect(try manager.load("web", for: "nginx.service") == "")
        try said(daemon, "nginx.service is given an empty credential: the log cannot be written")
        try folder.shell("mv \(daemon.audit) \(daemon.audit).1")
        _ = try daemon.reload()
        #expect(try manager.load("web", for: "nginx.service") == "THE KEY\n")
    }

    @Test func onlyRootMayHaveSuchASocket() throws {
        let (status, _, errors) = try Program.run(
            installed("setpriv") ?? "setpriv",
            [
                "--reuid", "61001", "--regid", "61001", "--clear-groups", Program.built("keybrokerd"), "--policy", "/p",
                "--socket", folder["x/s"], "--audit", folder["a/b"], "--credential-socket", folder["y/s"],
            ])
        #expect(status == 64)
        #expect(errors.contains("only root can serve the service manager with --credential-socket"))
    }

    @Test func twoDaemonsCannotShareIt() throws {
        let daemon = try daemon("permit unit:nginx.service key web")
        let (status, _, errors) = try Program.run(
            Program.built("keybrokerd"),
            [
                "--policy", folder["policy"], "--socket", folder["x/s"], "--audit", folder["a/b"], "--user", "61000",
                "--socket-group", "0", "--credential-socket", socket,
            ])
        #expect(status == 75)
        #expect(errors.contains("another keybrokerd serves \(socket)"))
        // A dead socket of its own is replaced.
        try daemon.kill()
        try daemon.restart()
        #expect(try Manager(socket).load("web", for: "nginx.service") == "THE KEY\n")
    }
}
