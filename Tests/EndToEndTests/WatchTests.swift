// Watching a key (verb W): each kind of rotation, the end of the permission, and slow readers.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: it becomes other accounts"))
struct WatchTests {
    private let folder = TemporaryFolder("watch")

    private func daemon(_ more: String = "", options: [String] = []) throws -> Daemon {
        for name in ["a", "b", "c"] { try folder.directory("keys/\(name)") }
        try folder.write("keys/a/key", "KEY 1", mode: 0o600)
        try folder.write("keys/a/crt", "CRT 1")
        try folder.write("keys/b/key", "KEY 2", mode: 0o600)
        try folder.write("keys/b/crt", "CRT 2")
        try folder.link("keys/c/key", to: "../a/key")
        try folder.link("keys/c/crt", to: "../a/crt")
        try folder.directory("keys/tree/now")
        try folder.write("keys/tree/now/key", "KEY 1", mode: 0o600)
        let policy = """
            key plain \(folder["keys/a/key"]) certificate \(folder["keys/a/crt"])
            key other \(folder["keys/b/key"])
            key linked \(folder["keys/c/key"]) certificate \(folder["keys/c/crt"])
            key tree \(folder["keys/tree/now/key"])
            permit 61001 key plain other linked tree
            permit 61002 key plain

            """
        // The policy is in a directory of its own, so that the sandbox does not permit the keys because of it.
        try folder.directory("etc")
        try folder.write("etc/policy", policy + more)
        return try Daemon(
            folder, policy: "", options: options + ["--user", "61912"], policyPath: folder["etc/policy"])
    }

    private func write(_ name: String, _ text: String) throws {
        try folder.shell("printf '\(text)' > \(name).new && chmod 600 \(name).new && mv \(name).new \(name)")
    }

    /// Renames two files while the daemon stands still: they could be further apart than a rotation lasts.
    private func exchange(
        _ key: String, _ newKey: String, _ certificate: String, _ newCertificate: String, under daemon: Daemon
    ) throws {
        try OtherProcess.stop(daemon.pid)
        defer { daemon.program.signal(SIGCONT) }
        try folder.shell("mv -T \(key) \(newKey); mv -T \(certificate) \(newCertificate)")
    }

    @Test func eachKindOfRotationIsAnnouncedOnce() throws {
        let daemon = try daemon()
        let plain = try PeerProcess(daemon.socket, uid: 61001)
        let first = try plain.ask("1Wplain")
        #expect(first.status == "K")
        #expect(first.text == "0")
        #expect(first.contents == ["KEY 1", "CRT 1"])
        // A rotation by two renames is announced as one.
        try folder.shell("cd keys/a; printf 'KEY 2' > k; printf 'CRT 2' > c; chmod 600 k")
        try exchange("keys/a/k", "keys/a/key", "keys/a/c", "keys/a/crt", under: daemon)
        let second = try plain.receive()
        #expect(second.text == "1")
        #expect(second.contents == ["KEY 2", "CRT 2"])
        #expect(try daemon.record(second.decision)["generation"] as? Int == 1)
        #expect(try daemon.record(second.decision)["verb"] as? String == "watch")
        // In place.
        try folder.shell("printf 'KEY 3' > keys/a/key")
        let third = try plain.receive()
        #expect(third.contents == ["KEY 3", "CRT 2"])
        // Of a watched file, its mode and its access are no content.
        try folder.shell("chmod 400 keys/a/key; cat keys/a/key > /dev/null; touch keys/a/beside")

        // Certbot exchanges symbolic links.
        let linked = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try linked.ask("1Wlinked").contents == ["KEY 3", "CRT 2"])
        try folder.shell("ln -s ../b/key keys/c/k && ln -s ../b/crt keys/c/x")
        try exchange("keys/c/k", "keys/c/key", "keys/c/x", "keys/c/crt", under: daemon)
        let flipped = try linked.receive()
        #expect(flipped.contents == ["KEY 2", "CRT 2"])
        #expect(flipped.text == "1")
        // Now the files behind the new links.
        try write("keys/b/key", "KEY 5")
        #expect(try linked.receive().contents == ["KEY 5", "CRT 2"])
        // A watcher that comes later has the same generation.
        let late = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try late.ask("1Wplain").text == "2")
        #expect(try late.ask("1Gplain").status == "E")
        #expect(try daemon.stop() == 0)
        #expect(try plain.receive().packet == "")
        #expect(try linked.receive().packet == "")
    }

    /// Kubernetes, and many scripts for deployment, exchange a whole directory.
    @Test func aDirectoryThatIsExchangedWholeIsARotation() throws {
        let daemon = try daemon()
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try peer.ask("1Wtree").contents == ["KEY 1"])
        try folder.directory("keys/tree/next")
        try folder.write("keys/tree/next/key", "KEY 2", mode: 0o600)
        try folder.shell("mv keys/tree/now keys/tree/old && mv keys/tree/next keys/tree/now")
        #expect(try peer.receive().contents == ["KEY 2"])
        // Files in the new directory are watched as those in the old one were.
        try write("keys/tree/now/key", "KEY 3")
        #expect(try peer.receive().contents == ["KEY 3"])
        try folder.shell("mv keys/tree/now keys/tree/older && mv keys/tree/old keys/tree/now")
        #expect(try peer.receive().contents == ["KEY 1"])
        #expect(try daemon.stop() == 0)
    }

    @Test func aKeyThatIsAwayForAMomentIsNoRotation() throws {
        let daemon = try daemon()
        let peer = try PeerProcess(daemon.socket, uid: 61002)
        #expect(try peer.ask("1Wplain").status == "K")
        try folder.shell("mv keys/a/key keys/a/away; sleep 0.3; mv keys/a/away keys/a/key; chmod 644 keys/a/key")
        try folder.shell(
            "sleep 0.3; mv keys/a/key keys/a/away; sleep 0.3; chmod 666 keys/a/away; mv keys/a/away keys/a/key")
        // Nobody is given what anybody could have written.
        try folder.shell("printf 'BAD' > keys/a/key; sleep 0.5; printf 'KEY 7' > keys/a/key; chmod 600 keys/a/key")
        #expect(try peer.receive().contents == ["KEY 7", "CRT 1"])
        #expect(try daemon.stop() == 0)
    }

    @Test func aReloadThatTakesThePermissionEndsTheWatch() throws {
        let daemon = try daemon()
        let kept = try PeerProcess(daemon.socket, uid: 61001)
        let lost = try PeerProcess(daemon.socket, uid: 61002)
        #expect(try kept.ask("1Wplain").status == "K")
        #expect(try lost.ask("1Wplain").status == "K")
        try folder.shell("sed -i '/61002/d' etc/policy")
        _ = try daemon.reload()
        let end = try lost.receive()
        #expect(end.status == "X")
        #expect(end.text == "no-rule")
        #expect(try lost.receive().packet == "")
        let record = try daemon.record(end.decision)
        #expect(record["verb"] as? String == "watch")
        #expect(record["decision"] as? String == "denied")
        // The other watch goes on.
        try write("keys/a/key", "KEY 2")
        #expect(try kept.receive().contents == ["KEY 2", "CRT 1"])
        // The key itself ends.
        try folder.shell("sed -i '/key plain/d; s/ plain / /' etc/policy")
        _ = try daemon.reload()
        #expect(try kept.receive().text == "unknown-key")
        #expect(try daemon.stop() == 0)
    }

    @Test func aSlowWatcherGetsTheNewest() throws {
        let daemon = try daemon()
        let slow = try PeerProcess(daemon.socket, uid: 61001)
        let quick = try PeerProcess(daemon.socket, uid: 61002)
        _ = try slow.step("send 1Wplain")
        #expect(try quick.ask("1Wplain").status == "K")
        for number in 2...4 {
            try write("keys/a/key", "KEY \(number)")
            #expect(try quick.receive().contents == ["KEY \(number)", "CRT 1"])
        }
        #expect(try slow.receive().contents == ["KEY 1", "CRT 1"])
        let newest = try slow.receive()
        #expect(newest.contents == ["KEY 4", "CRT 1"])
        #expect(newest.text == "3")
        #expect(try daemon.stop() == 0)
    }

    @Test func watchesHaveALimitOfTheirOwn() throws {
        let daemon = try daemon("limit 61001 watches 2\n")
        let peers = try (0..<3).map { _ in try PeerProcess(daemon.socket, uid: 61001) }
        #expect(try peers[0].ask("1Wplain").status == "K")
        #expect(try peers[1].ask("1Wother").status == "K")
        let refused = try peers[2].ask("1Wplain")
        #expect(refused.status == "B")
        #expect(try daemon.record(refused.decision)["reason"] as? String == "limit-watches")
        // The key itself can still be had, and a watch that ends makes room.
        #expect(try peers[2].ask("1Gplain").status == "K")
        _ = try peers[0].step("close")
        let deadline = Date(timeIntervalSinceNow: 10)
        var reply = try peers[2].ask("1Wplain")
        while reply.status == "B", Date() < deadline { reply = try peers[2].ask("1Wplain") }
        #expect(reply.status == "K")
        let stranger = try PeerProcess(daemon.socket, uid: 61003)
        #expect(try stranger.ask("1Wplain").status == "D")
        #expect(try daemon.stop() == 0)
    }

    /// A uid with as many watches as it may have, none of which it reads, costs another uid nothing: neither its watch nor
    /// its key, nor the descriptors in flight.
    @Test func watchersThatReadNothingCostTheOthersNothing() throws {
        let daemon = try daemon("limit 61001 watches 60\n")
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/watchers.py").path
        let hoarder = try Program(
            installed("python3") ?? "python3", [script, daemon.socket, "61001", "plain", "60"])
        _ = try hoarder.wait(forLines: 1)
        let before = try daemon.openDescriptors()
        let victim = try PeerProcess(daemon.socket, uid: 61002)
        #expect(try victim.ask("1Wplain").status == "K")
        let other = try PeerProcess(daemon.socket, uid: 61002)
        for number in 2...12 {
            try write("keys/a/key", "KEY \(number)")
            #expect(try victim.receive().contents == ["KEY \(number)", "CRT 1"])
            #expect(try other.ask("1Gplain").contents == ["KEY \(number)", "CRT 1"])
        }
        // Each of them was told once, and is told of the newest when it reads.
        let grants = try daemon.records().filter {
            $0["uid"] as? Int == 61001 && $0["decision"] as? String == "granted"
        }
        #expect(grants.count == 120)
        hoarder.closeInput()
        try hoarder.waitForExit()
        let deadline = Date(timeIntervalSinceNow: 10)
        while try daemon.openDescriptors() > before, Date() < deadline { usleep(10_000) }
        #expect(try daemon.openDescriptors() <= before)
        #expect(try daemon.stop() == 0)
    }
}
