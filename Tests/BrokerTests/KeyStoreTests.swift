// The key store with real files: what it remembers, and what a key and its certificate have to do with each other.

import Foundation
import Kernel
import Policy
import PolicyLoading
import TestSupport
import Testing
import Wire

@testable import Broker
@testable import Keys

@Suite(.enabled(if: isRoot, "needs root: it mounts a directory over another"))
struct KeyStoreTests {
    private let folder = TemporaryFolder("store")

    private func text(_ handOut: consuming HandOut) throws -> String {
        guard let key = handOut.takeKey() else { throw Waited(description: "no key") }
        return String(decoding: try key.readAll(limit: 100, ""), as: UTF8.self)
    }

    /// A mount is a change that nobody is told of: the way to the key is remembered, the one to the certificate is not.
    @Test func aKeyAndItsCertificateAreAPair() throws {
        for (name, content) in [("old", "OLD"), ("new", "NEW")] {
            try folder.directory(name)
            try folder.directory("\(name)/public")
            try folder.write("\(name)/key", content)
            try folder.write("\(name)/public/chain", content)
        }
        let certificate = folder["old/public/chain"]
        let lines = "key alone \(folder["old/key"])\nkey pair \(folder["old/key"]) certificate \(certificate)\n"
        let policy = try Bench.load(lines, folder).policy
        let store = KeyStore(owners: .now, watch: try ChangeWatch(), sandbox: Sandbox())
        let alone = try #require(KeyName("alone").flatMap { policy.keys[$0] })
        let pair = try #require(KeyName("pair").flatMap { policy.keys[$0] })
        let first = try text(store.handOut(alone))
        #expect(first == "OLD")
        try folder.shell("mount --bind new old")
        defer { try? folder.shell("umount -l old") }
        let key = try text(store.handOut(pair))
        #expect(key == "NEW")
    }

    /// Whoever opens both files while they change may have files of two moments: no caller gets them.
    @Test(arguments: [true, false]) func aPairThatChangesAllTheTimeIsNotHandedOut(_ isOpener: Bool) throws {
        for name in ["one", "two", "key", "chain"] { try folder.write(name, name) }
        let lines = "key pair \(folder["key"]) certificate \(folder["chain"])\n"
        let policy = try Bench.load(lines, folder).policy
        let pair = try #require(KeyName("pair").flatMap { policy.keys[$0] })
        let store = KeyStore(owners: .now, watch: nil, sandbox: Sandbox())
        let question = OpenerQuestion(lane: 1, form: .open, paths: [folder["key"], folder["chain"]])
        let script = """
            import os, sys
            os.chdir(sys.argv[1])
            while True:
                for name in ("one", "two"):
                    os.link(name, "next")
                    os.rename("next", "key")
            """
        let changer = try Program(installed("python3") ?? "python3", ["-c", script, folder.path])
        defer { changer.signal(SIGKILL) }
        var failure: TrustError?
        try waitUntil("a pair is refused") {
            do throws(TrustError) {
                if isOpener { _ = try question.opened(.now, watchedBy: nil) } else { _ = try store.handOut(pair) }
            } catch { failure = error }
            return failure != nil
        }
        #expect(failure == TrustError(changing: [folder["key"], folder["chain"]]))
        #expect(failure?.kind == .late)
    }
}
