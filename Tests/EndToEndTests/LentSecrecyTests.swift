// Where a key that is lent is, and is not: only one process ever reads it, and nothing is left of it afterwards.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot && installed("openssl") != nil, "needs root and openssl: it reads other processes' memory"))
struct LentSecrecyTests {
    /// All processes of the broker but the one that signs.
    private func others(_ lent: LentKeys) throws -> [Int32] {
        let worker = try lent.signer().worker
        return [lent.daemon.pid] + OtherProcess.descendants(of: lent.daemon.pid).filter { $0 != worker }
    }

    @Test(.enabled(if: installed("strace") != nil, "needs strace"))
    func nobodyButTheSignerReadsAKey() throws {
        let lent = try LentKeys("reads", "permit 61001 sign web rsa for tls-server\npermit 61001 key rsa")
        let client = try lent.client(61001)
        let keys = "\(lent.folder["keys"])/"
        for pid in try others(lent) {
            let lines = try Trace.lines(of: pid, options: ["-f"]) {
                for key in ["web", "rsa"] {
                    #expect(try client.open(key).status == "K")
                    #expect(try client.sign(3) == "K")
                }
                #expect(try client.open("none").status == "D")
                #expect(try PeerProcess(lent.daemon.socket, uid: 61001).ask("1Grsa").status == "K")
                _ = try lent.reload("permit 61001 sign web\npermit 61001 key rsa")
                #expect(try client.open("web").status == "K")
                #expect(try client.sign() == "K")
                _ = try lent.reload("permit 61001 sign web rsa for tls-server\npermit 61001 key rsa")
            }
            let touching = lines.filter { $0.contains(keys) }
            // Looking at the path, opening the file, looking at it, passing it on and closing it.
            let harmless: Set = [
                "openat", "newfstatat", "fstat", "statx", "readlinkat", "sendmsg", "close", "inotify_add_watch",
                "fcntl",
                "getdents64",
            ]
            let calls = touching.compactMap { line -> String? in
                line.firstIndex(of: "(").map { String(line[..<$0].split(separator: " ").last ?? "") }
            }
            #expect(Set(calls).isSubset(of: harmless), "\(Set(calls).subtracting(harmless))")
            // Or this test would not see what the daemon does.
            if pid == lent.daemon.pid { #expect(calls.contains("openat") && calls.contains("sendmsg")) }
        }
    }

    @Test(.disabled(if: Program.isSanitized, "a sanitizer has too much memory to read it"), arguments: ["web", "rsa"])
    func nothingOfItIsInAnyOtherProcess(_ key: String) throws {
        let lent = try LentKeys("cores", "permit 61001 sign web rsa for tls-server\npermit 61002 sign web rsa")
        let secrets = try KeySecrets(of: lent.folder["keys/\(key)"])
        let (first, second) = (try lent.client(61001), try lent.client(61002))
        for client in [first, second] {
            #expect(try client.open(key).status == "K")
            #expect(try client.sign(20) == "K")
        }
        let worker = try lent.signer().worker
        // Or this test would find nothing anywhere.
        #expect(try !secrets.found(in: worker).isEmpty)
        for pid in try others(lent) { #expect(try secrets.found(in: pid) == [], "\(OtherProcess.name(of: pid) ?? "")") }
        // One ends because the permission does, one because its client goes.
        _ = try lent.reload("permit 61001 sign web rsa for tls-server")
        _ = try first.peer.step("close")
        _ = try lent.ends(2)
        for pid in try others(lent) + [worker] {
            #expect(try secrets.found(in: pid) == [], "\(OtherProcess.name(of: pid) ?? "")")
        }
        #expect(try lent.daemon.stop() == 0)
    }
}
