// Which files are handed out. A file that cannot be trusted gives a `U` reply at once, and the record says why.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, .enabled(if: isRoot, "needs root: it gives files to other accounts"))
struct HandOutTests {
    private let folder = TemporaryFolder("trust")

    /// Remembered ways hold descriptors, which other keys may need.
    @Test func manyKeysAreHandedOutWithFewDescriptors() throws {
        let names = (0..<80).map { "k\($0)" }
        for name in names { try folder.write(name, name, mode: 0o600) }
        let daemon = try Daemon(
            folder, policy: names.map { "key \($0) \(folder[$0])\npermit 61001 key \($0)\n" }.joined(), descriptors: 60)
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        for name in names { #expect(try peer.ask("1G\(name)").contents == [name]) }
        try daemon.stop()
    }

    @Test func everyKindOfUntrustedPath() throws {
        try folder.write("good", "x", mode: 0o600)
        try folder.write("writable", "x", mode: 0o622)
        try folder.write("group", "x", mode: 0o660)
        try folder.write("theirs", "x", mode: 0o600, owner: 61009)
        try folder.directory("dir")
        try folder.shell("mkfifo -m 600 fifo")
        try folder.directory("open", mode: 0o777)
        try folder.write("open/key", "x", mode: 0o600)
        try folder.directory("owned", owner: 61009)
        try folder.write("owned/key", "x", mode: 0o600)
        try folder.directory("sticky", mode: 0o1777)
        try folder.write("sticky/key", "x", mode: 0o600)
        try folder.link("sticky/link", to: folder["good"])
        try folder.shell("chown -h 61009 sticky/link")
        try folder.link("owned/link", to: folder["good"])
        try folder.link("via", to: "owned/link")
        try folder.link("loop", to: "loop")
        let cases: [(name: String, path: String, reason: String?, detail: String)] = [
            ("good", "good", nil, ""), ("in-sticky", "sticky/key", nil, ""),
            ("missing", "missing", "file-missing", "does not exist"),
            ("writable", "writable", "file-untrusted", "can be written to by everybody (mode 0622)"),
            ("group", "group", "file-untrusted", "can be written to by group 0 (mode 0660)"),
            ("theirs", "theirs", "file-untrusted", "belongs to uid 61009, not to root"),
            ("dir", "dir", "file-untrusted", "is a directory"),
            ("fifo", "fifo", "file-untrusted", "is a FIFO"),
            ("open-dir", "open/key", "file-untrusted", "can be written to by everybody (mode 0777)"),
            ("owned-dir", "owned/key", "file-untrusted", "owned belongs to uid 61009"),
            ("their-link", "sticky/link", "file-untrusted", "belongs to uid 61009"),
            ("via", "via", "file-untrusted", "owned belongs to uid 61009"),
            ("loop", "loop", "file-untrusted", "symbolic links"),
        ]
        let policy = cases.map { "key \($0.name) \(folder[$0.path])\npermit :61001 key \($0.name)\n" }.joined()
        let device = "key device /dev/null\npermit :61001 key device\n"
        let daemon = try Daemon(folder, policy: policy + device)
        // Two cases share a uid, because more than ten refusals of one uid in a second are folded. Each case runs
        // twice: the first time the path is walked, and the second time the daemon may rely on what it remembers.
        let peers = try (0..<7).map { try PeerProcess(daemon.socket, uid: 61100 + $0, gid: 61001) }
        let peer = peers[0]
        for (index, (name, _, reason, detail)) in (cases + cases).enumerated() {
            let peer = peers[index % cases.count / 2]
            let reply = try peer.ask("1G\(name)")
            let record = try daemon.record(reply.decision)
            if let reason {
                #expect(reply.packet == "1U\(reply.decision) \(reason)", "\(name)")
                #expect(record["decision"] as? String == "unavailable")
                #expect(record["reason"] as? String == reason, "\(name)")
                #expect((record["detail"] as? String)?.contains(detail) == true, "\(name): \(record)")
            } else {
                #expect(reply.status == "K", "\(name): \(record)")
            }
        }
        #expect(try peer.ask("1Gdevice").text == "file-untrusted")
        // Permission before existence: a stranger learns nothing about any of these files.
        let stranger = try PeerProcess(daemon.socket, uid: 61002)
        for (name, _, _, _) in cases.prefix(8) { #expect(try stranger.ask("1G\(name)").text == "not permitted") }
    }

    /// The daemon remembers that a path is trusted, until anything on the path changes.
    @Test func trustEndsWithAChange() throws {
        try folder.directory("a/b")
        try folder.write("a/b/key", "one", mode: 0o600)
        let daemon = try Daemon(folder, policy: "key k \(folder["a/b/key"])\npermit 61001 key k\n")
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        func ask() throws -> String {
            let reply = try peer.ask("1Gk")
            return reply.contents.first ?? reply.text
        }
        #expect(try ask() == "one")
        try folder.setAttributes("a", mode: 0o777)
        #expect(try ask() == "file-untrusted")
        try folder.setAttributes("a", mode: 0o755)
        #expect(try ask() == "one")
        // The file is replaced as a rotation does it.
        try folder.shell("echo two > a/b/new; chmod 600 a/b/new; mv a/b/new a/b/key")
        #expect(try ask() == "two\n")
        // The directory itself is replaced.
        try folder.shell("mv a/b a/old; mkdir a/b; echo three > a/b/key; chmod 600 a/b/key")
        #expect(try ask() == "three\n")
        try folder.shell("rm a/b/key; ln -s ../old/key a/b/key")
        #expect(try ask() == "two\n")
        try folder.shell("rm a/b/key")
        #expect(try ask() == "file-missing")
        try folder.shell("chown 61009 a/old; ln -s ../old/key a/b/key")
        #expect(try ask() == "file-untrusted")
    }

    @Test func certbotsTree() throws {
        try folder.directory("archive/example.org", mode: 0o700)
        try folder.directory("live/example.org", mode: 0o755)
        for version in 1...2 {
            try folder.write("archive/example.org/privkey\(version).pem", "key \(version)", mode: 0o600)
            try folder.write("archive/example.org/fullchain\(version).pem", "chain \(version)")
        }
        func point(to version: Int) throws {
            for name in ["privkey", "fullchain"] {
                try folder.shell(
                    "ln -sfn ../../archive/example.org/\(name)\(version).pem live/example.org/\(name).pem")
            }
        }
        try point(to: 1)
        let live = folder["live/example.org"]
        let daemon = try Daemon(
            folder, policy: "key le \(live)/privkey.pem certificate \(live)/fullchain.pem\npermit 61001 key le\n")
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try peer.ask("1Gle").contents == ["key 1", "chain 1"])
        #expect(try peer.ask("1Gle").contents == ["key 1", "chain 1"])
        try point(to: 2)
        let reply = try peer.ask("1Gle")
        #expect(reply.contents == ["key 2", "chain 2"])
        let file = try daemon.record(reply.decision)["file"] as? [String: Any]
        #expect(file?["path"] as? String == folder["archive/example.org/privkey2.pem"])
    }

    @Test func credentialsOfTheServiceManager() throws {
        try folder.directory("credentials", mode: 0o755)
        try folder.write("credentials/web.pem", "from the manager", mode: 0o400)
        let daemon = try Daemon(
            folder, policy: "key c credential:web.pem\nkey d credential:none\npermit 61001 key c d\n",
            environment: ["CREDENTIALS_DIRECTORY": folder["credentials"]])
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try peer.ask("1Gc").contents == ["from the manager"])
        #expect(try peer.ask("1Gd").text == "file-missing")
    }
}
