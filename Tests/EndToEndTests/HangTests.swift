// Keys on a file system that hangs, or is slow: they cost nobody else a key, and are served again when it answers.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, .enabled(if: canMountFUSE, "needs root and /dev/fuse: it mounts a file system that hangs"))
struct HangTests {
    private let folder = TemporaryFolder("hang")

    private func policy(_ far: HangingFileSystem) throws -> String {
        try folder.write("near", "NEAR", mode: 0o600)
        try folder.link("link", to: far.key)
        return """
            key far \(far.key)
            key near \(folder["near"])
            key linked \(folder["link"])
            key pair \(folder["near"]) certificate \(far.key)
            permit 61001 key far linked pair
            permit 61002 key near
            limit 61001 requests 1000
            limit 61002 requests 10000

            """
    }

    /// Asks until the reply is one that it would have on a machine with time.
    private func ask(_ peer: PeerProcess, _ request: String) throws -> PeerReply {
        try peer.ask(request) { $0.status == "B" || $0.text == "file-unreadable" && request.hasPrefix("1G") }
    }

    @Test func aFileSystemThatHangsCostsOnlyItsOwnKeys() throws {
        let far = try HangingFileSystem(folder, "far")
        let other = try HangingFileSystem(folder, "other")
        let daemon = try Daemon(
            folder, policy: try policy(far) + "key other \(other.key)\npermit 61003 key other\n")
        let (user, near) = (try PeerProcess(daemon.socket, uid: 61001), try PeerProcess(daemon.socket, uid: 61002))
        for key in ["far", "linked"] { #expect(try ask(user, "1G\(key)").contents == ["ONE"], "\(key)") }
        #expect(try ask(user, "1Gpair").contents == ["NEAR", "ONE"])
        let granted = try daemon.records().first { $0["key"] as? String == "linked" && $0["file"] != nil }
        #expect((granted?["file"] as? [String: Any])?["path"] as? String == far.key)

        try far.tell("hang all")
        let first = try user.ask("1Gfar")
        #expect(first.status == "B")
        let record = try daemon.record(first.decision)
        #expect(record["reason"] as? String == "file-slow")
        #expect((record["detail"] as? String)?.contains("has not answered so far") == true)
        let asking = Date()
        var last = first
        while last.status == "B", Date() < asking.addingTimeInterval(20) {
            usleep(10_000)
            last = try user.ask("1Gfar")
        }
        #expect(last.text == "file-unreadable")
        #expect((try daemon.record(last.decision)["detail"] as? String)?.contains("not opened in time") == true)
        // The loop does not wait for it: otherwise none of these would be answered while it hangs.
        for _ in 0..<100 { #expect(try near.ask("1Gnear").contents == ["NEAR"]) }
        #expect(try ask(try PeerProcess(daemon.socket, uid: 61003), "1Gother").contents == ["ONE"])
        #expect(try daemon.reload().contains("read anew"))
        #expect(try near.ask("1Gnear").contents == ["NEAR"])

        try far.tell("go")
        var again = try ask(user, "1Gfar")
        let deadline = Date(timeIntervalSinceNow: 20)
        while again.status != "K", Date() < deadline { again = try ask(user, "1Gfar") }
        #expect(again.contents == ["ONE"])
        #expect(try daemon.stop() == 0)
    }

    /// Closing a file of such a file system can hang as well. The daemon has none open.
    @Test func itHangsWhileAFileIsClosed() throws {
        let far = try HangingFileSystem(folder, "far")
        let daemon = try Daemon(folder, policy: try policy(far))
        let near = try PeerProcess(daemon.socket, uid: 61002)
        try far.tell("hang flush")
        // The client itself hangs when it closes the file, so its output does not come.
        let user = try PeerProcess(daemon.socket, uid: 61001)
        for _ in 0..<3 { try user.program.send("send 1Gfar") }
        try far.tell("wait")
        #expect(try near.ask("1Gnear").contents == ["NEAR"])
        let granted = { (try? daemon.records().filter { $0["key"] as? String == "far" }.last) ?? nil }
        #expect(granted()?["decision"] as? String == "granted" || granted()?["decision"] as? String == "busy")
        let open = try OtherProcess.openFiles(of: daemon.pid)
        #expect(!open.isEmpty && !open.contains { $0.hasPrefix(folder["far"]) }, "\(open)")
        // It can end, and another one can take its place.
        #expect(try daemon.stop() == 0)
        try daemon.restart()
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gnear").contents == ["NEAR"])
        try far.tell("go")
    }

    @Test func theDaemonStartsWhileItHangs() throws {
        let far = try HangingFileSystem(folder, "far")
        try far.tell("hang all")
        let daemon = try Daemon(folder, policy: try policy(far))
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gnear").contents == ["NEAR"])
        #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gfar").status == "B")
        #expect(try daemon.reload().contains("read anew"))
        try far.tell("go")
        #expect(try ask(try PeerProcess(daemon.socket, uid: 61001), "1Glinked").contents == ["ONE"])
    }

    /// A file system that answers late, but answers, is served.
    @Test func aSlowFileSystemIsServed() throws {
        let far = try HangingFileSystem(folder, "far")
        let daemon = try Daemon(folder, policy: try policy(far))
        try far.tell("delay 0.03")
        let user = try PeerProcess(daemon.socket, uid: 61001)
        for _ in 0..<3 {
            #expect(try ask(user, "1Gfar").contents == ["ONE"])
            #expect(try ask(user, "1Gpair").contents == ["NEAR", "ONE"])
        }
    }

    /// A mount that is made while the daemon runs is kept out of as well.
    @Test func aMountThatComesLaterIsNoticed() throws {
        try folder.directory("later")
        try folder.write("later/key", "LOCAL", mode: 0o600)
        try folder.write("near", "NEAR", mode: 0o600)
        let daemon = try Daemon(
            folder,
            policy: """
                key far \(folder["later/key"])
                key near \(folder["near"])
                permit 61001 key far
                permit 61002 key near

                """)
        let user = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try user.ask("1Gfar").contents == ["LOCAL"])
        let far = try HangingFileSystem(folder, "later")
        #expect(try ask(user, "1Gfar").contents == ["ONE"])
        try far.tell("hang all")
        #expect(try user.ask("1Gfar").status == "B")
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gnear").contents == ["NEAR"])
        try far.tell("go")
    }

    @Test func aRotationIsSeenAndAHangIsNot() throws {
        let far = try HangingFileSystem(folder, "far")
        let daemon = try Daemon(folder, policy: try policy(far))
        let watcher = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try ask(watcher, "1Wfar").contents == ["ONE"])
        try far.tell("write TWO")
        #expect(try watcher.receive().contents == ["TWO"])
        try far.tell("hang all")
        // The daemon looks at the key again each second.
        try far.tell("wait")
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gnear").contents == ["NEAR"])
        try far.tell("go")
        try far.tell("write THREE")
        #expect(try watcher.receive().contents == ["THREE"])
    }

    @Test(.enabled(if: UnitGroups.mount != nil, "needs cgroup2: the service manager asks from within a unit"))
    func aCredentialIsReadOutsideOfTheDaemon() throws {
        let far = try HangingFileSystem(folder, "far")
        let socket = folder["run/credential.sock"]
        let daemon = try Daemon(
            folder, policy: try policy(far) + "permit unit:a.service key far near\n",
            options: ["--credential-socket", socket])
        let manager = try Manager(socket)
        // On a busy machine, it may take longer than a credential is waited for.
        func isLoaded() throws -> Bool { try manager.load("far", for: "a.service") == "ONE" }
        try waitUntil("it is loaded", isLoaded)
        try far.tell("delay 0.03")
        try waitUntil("it is loaded again", isLoaded)
        try far.tell("hang read")
        #expect(try manager.load("far", for: "a.service").isEmpty)
        #expect(try manager.load("near", for: "a.service") == "NEAR")
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gnear").contents == ["NEAR"])
        try far.tell("go")
    }
}
