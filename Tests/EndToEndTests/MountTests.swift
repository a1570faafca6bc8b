// An account that may mount file systems of its own, as with fusermount3, and does so without end: it costs nobody a key,
// and takes no key to where it may hang.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, .enabled(if: canMountFUSE, "needs root and /dev/fuse: it mounts file systems"))
struct MountTests {
    private let folder = TemporaryFolder("mounts")

    private func policy() throws -> String {
        for name in ["disk", "later"] { try folder.directory(name) }
        try folder.write("near", "NEAR", mode: 0o600)
        try folder.write("later/key", "LOCAL", mode: 0o600)
        return """
            key near \(folder["near"])
            key later \(folder["later/key"])
            key disk \(folder["disk/key"])
            permit 61001 key near disk
            permit 61002 key later
            limit 61001 requests 10000

            """
    }

    /// Asks until the reply is one that it would have on a machine with time.
    private func ask(_ peer: PeerProcess, _ request: String) throws -> [String] {
        try peer.ask(request) { $0.status == "B" }.contents
    }

    /// The table of mounts takes so long to read that it is out of date for seconds after a change of mounts.
    @Test func theTableOfMountsIsOutOfDate() throws {
        let policy = try policy()
        let others = try OthersMounts(folder, number: 300)
        let daemon = try Daemon(folder, policy: policy)
        let (user, other) = (try PeerProcess(daemon.socket, uid: 61001), try PeerProcess(daemon.socket, uid: 61002))
        // So often that no more time may be spent on reading.
        for _ in 0..<50 {
            try others.tell("once")
            #expect(try ask(user, "1Gnear") == ["NEAR"])
        }
        #expect(try ask(other, "1Glater") == ["LOCAL"])

        // A local mount that nobody knows, and one that hangs: the opener tries them.
        let disk = try Mounted(folder["disk"])
        try folder.write("disk/key", "DISK", mode: 0o600)
        #expect(try ask(user, "1Gdisk") == ["DISK"])
        let far = try HangingFileSystem(folder, "later")
        #expect(try ask(other, "1Glater") == ["ONE"])
        try far.tell("hang all")
        #expect(try other.ask("1Glater").status == "B")
        for _ in 0..<20 {
            try others.tell("once")
            #expect(try ask(user, "1Gnear") == ["NEAR"])
        }
        try far.tell("go")
        withExtendedLifetime(disk) {}
        #expect(try daemon.stop() == 0)
    }

    @Test func aWatcherIsToldWhileOthersMount() throws {
        let daemon = try Daemon(folder, policy: try policy())
        let others = try OthersMounts(folder, number: 10)
        let watcher = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try ask(watcher, "1Wnear") == ["NEAR"])
        try others.tell("forever")
        for content in ["TWO", "THREE"] {
            try folder.write("new", content, mode: 0o600)
            try FileManager.default.removeItem(atPath: folder["near"])
            try FileManager.default.moveItem(atPath: folder["new"], toPath: folder["near"])
            #expect(try watcher.receive().contents == [content])
        }
    }
}

/// The mounts of somebody else. They end with this object. See Peers/mounts.py.
private final class OthersMounts {
    private let program: Program

    init(_ parent: TemporaryFolder, number: Int) throws {
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/mounts.py").path
        program = try Program(
            installed("python3") ?? "python3", [script, try parent.directory("others"), "\(number)"])
        guard try program.nextLine() == "mounted" else { throw Waited(description: program.text(.error)) }
    }

    func tell(_ command: String) throws {
        try program.send(command)
        _ = try program.nextLine()
    }

    deinit { _ = try? program.waitForExit() }
}

/// An empty local file system, for as long as this object is there.
private final class Mounted {
    private let folder: String

    init(_ folder: String) throws {
        self.folder = folder
        let mounted = try Program.run("/bin/mount", ["-t", "tmpfs", "-o", "mode=755", "x", folder])
        guard mounted.status == 0 else { throw Waited(description: mounted.errors) }
    }

    deinit { _ = try? Program.run("/bin/umount", ["-l", folder]) }
}
