// What the daemon remembers of the way to a key is of use for all keys in the same directory, and for no others.

import Foundation
import TestSupport
import Testing
import Wire

@Suite(.enabled(if: isRoot, "needs root: it becomes other accounts"))
struct KnownFolderTests {
    let folder = TemporaryFolder("known")

    /// - Parameter keys: their names, and their files.
    func daemon(_ keys: [(name: String, file: String)]) throws -> Daemon {
        let lines = keys.map { "key \($0.name) \(folder[$0.file])\npermit 61001 key \($0.name)\n" }
        return try Daemon(folder, policy: lines.joined() + "limit 61001 requests 10000\n")
    }

    /// More keys than there are ways that are remembered: the way to their directory is walked once.
    @Test(.enabled(if: installed("strace") != nil, "needs strace"))
    func manyKeysOfADirectoryTakeOneWalk() throws {
        try folder.directory("keys")
        let names = (0..<3 * Limits.rememberedPaths).map { "k\($0)" }
        for name in names { try folder.write("keys/\(name)", name, mode: 0o600) }
        let daemon = try daemon(names.map { ($0, "keys/\($0)") })
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        for _ in 0..<2 {
            for name in names { #expect(try peer.ask("1G\(name)").contents == [name]) }
        }
        // It is looked at, and opened, in the directory whose handle is there. The first may be walked to: another test may
        // have mounted something, and no way is remembered for longer than some seconds.
        let calls = try Trace.of(daemon.pid) { for name in names.suffix(2) { _ = try peer.ask("1G\(name)") } }
        let requests = calls.split(separator: "sendmsg")
        #expect(try #require(requests.dropFirst().first).count { $0 == "openat" } == 2)
    }

    /// A key and its certificate in one directory, which is how most have them.
    @Test(.enabled(if: installed("strace") != nil, "needs strace"))
    func aPairInADirectoryTakesOneWalk() throws {
        try folder.directory("keys")
        for name in ["key", "crt"] { try folder.write("keys/\(name)", name, mode: 0o600) }
        let daemon = try Daemon(
            folder,
            policy: "key k \(folder["keys/key"]) certificate \(folder["keys/crt"])\npermit 61001 key k\n")
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        var contents: [String] = []
        let lines = try Trace.lines(of: daemon.pid) { contents = try peer.ask("1Gk").contents }
        #expect(contents == ["key", "crt"])
        #expect(lines.count { $0.contains(#""/", O_"#) } == 1)
    }

    /// Each of these is in a directory to which the way is known, or looks so.
    @Test func everyFileIsCheckedItself() throws {
        for name in ["keys", "other"] { try folder.directory(name) }
        for name in ["keys/a", "other/l", "other/b", "keys/b"] { try folder.write(name, name, mode: 0o600) }
        try folder.write("keys/foreign", "FOREIGN", mode: 0o600)
        try folder.shell("chown 61001 keys/foreign")
        try folder.shell("mkfifo -m 600 keys/fifo; ln -s ../other keys/way; ln -s ../other/l keys/l")
        let daemon = try daemon([
            ("a", "keys/a"), ("l", "keys/l"), ("b", "keys/b"), ("foreign", "keys/foreign"), ("fifo", "keys/fifo"),
            ("none", "keys/none"), ("over", "keys/way/b"),
        ])
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        for _ in 0..<2 {
            for (name, content) in [("a", "keys/a"), ("l", "other/l"), ("b", "keys/b"), ("over", "other/b")] {
                #expect(try peer.ask("1G\(name)").contents == [content])
            }
            for (name, reason) in [("foreign", "file-untrusted"), ("fifo", "file-untrusted"), ("none", "file-missing")]
            {
                #expect(try peer.ask("1G\(name)").packet.hasSuffix(reason), "\(name)")
            }
        }
        // What becomes a link, or another's, is seen at once.
        try folder.shell("rm keys/b; ln -s ../other/b keys/b; chown 61001 keys/a")
        #expect(try peer.ask("1Gb").contents == ["other/b"])
        #expect(try peer.ask("1Ga").packet.hasSuffix("file-untrusted"))
        // So is a directory that is exchanged.
        try folder.shell("mv keys old; cp -a old keys; rm keys/b; echo -n NEW > keys/b")
        #expect(try peer.ask("1Gb").contents == ["NEW"])
    }
}
