// What the process that signs may do, and what is left of a key in it.

import Foundation
import SignerControl
import TestSupport
import Testing
import Wire

@Suite(.enabled(if: isRoot && installed("openssl") != nil, "needs root and openssl: it reads another process's memory"))
struct SecrecyTests {
    private func status(_ pid: Int32) throws -> [String: String] {
        let lines = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8).split(separator: "\n")
        return Dictionary(
            uniqueKeysWithValues: lines.compactMap { line in
                let parts = line.split(separator: ":", maxSplits: 1)
                return parts.count == 2
                    ? (String(parts[0]), parts[1].split(whereSeparator: \.isWhitespace).joined(separator: " ")) : nil
            })
    }

    @Test func itHasNoRights() throws {
        let bench = try Bench("rights")
        for pid in [bench.signer.processID, try bench.worker()] {
            let status = try status(pid)
            for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                #expect(status[set] == "0000000000000000", "\(set)")
            }
            #expect(status["Uid"] == "61950 61950 61950 61950" && status["Gid"] == "61950 61950 61950 61950")
            #expect(status["Groups"] == "" || status["Groups"] == nil)
            #expect(status["NoNewPrivs"] == "1")
            let environment = try Data(contentsOf: URL(fileURLWithPath: "/proc/\(pid)/environ"))
            #expect(environment.isEmpty)
            // Not dumpable: its files in /proc are root's.
            let owner = try FileManager.default.attributesOfItem(atPath: "/proc/\(pid)/environ")[.ownerAccountID]
            #expect(owner as? Int == 0)
        }
        let worker = try bench.worker()
        let threads = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(worker)/task")
        // The first one waits for ever, two sign, and one closes what clients sent.
        #expect(threads.count == 4 || Program.isSanitized)
        for thread in threads { #expect(try status(Int32(thread) ?? 0)["Seccomp"] == "2") }
        let limits = try String(contentsOfFile: "/proc/\(worker)/limits", encoding: .utf8)
        for limit in ["Max core file size", "Max processes", "Max file size"] {
            let line = try #require(limits.split(separator: "\n").first { $0.hasPrefix(limit) })
            #expect(line.dropFirst(limit.count).split(separator: " ").prefix(2) == ["0", "0"], "\(line)")
        }
    }

    @Test(
        .enabled(if: installed("strace") != nil, "needs strace"),
        .disabled(if: Program.isSanitized, "a sanitizer makes calls of its own"))
    func itOpensAndMakesNothing() throws {
        let bench = try Bench("calls")
        let keys = [try bench.makeECKey(), try bench.makeKey("rsa", "RSA", "rsa_keygen_bits:2048")]
        let calls = try Trace.of(try bench.worker(), allThreads: true) {
            for (key, scheme) in zip(keys, [0x0403, 0x0804] as [UInt16]) {
                let (number, client) = try bench.open(key, .tlsServer)
                _ = try client.signature(handshake(), scheme)
                _ = try client.clone().signature(handshake(), scheme)
                _ = try client.sign([1], scheme)
                bench.signer.end(number)
                _ = try bench.report()
            }
        }
        let permitted: Set = [
            "epoll_wait", "epoll_pwait", "epoll_ctl", "recvmsg", "sendmsg", "close", "getsockopt", "fstat",
            "newfstatat",
            "pread64", "shutdown", "write", "mmap", "munmap", "mremap", "madvise", "mlock", "brk", "mprotect",
            "getrandom", "futex",
            "getpid", "gettid",
            "clock_gettime", "restart_syscall",
            // The thread that closes, and looking for what it has to close.
            "read", "poll", "ppoll", "setsockopt", "recvfrom", "timer_settime", "rt_sigreturn",
        ]
        #expect(calls.contains("recvmsg") && calls.contains("pread64"))
        #expect(Set(calls).isSubset(of: permitted), "\(Set(calls).subtracting(permitted))")
    }

    @Test(
        .disabled(if: Program.isSanitized, "a sanitizer has too much memory to read it"),
        arguments: [
            ("ec", "EC", "ec_paramgen_curve:P-256", 0x0403), ("p521", "EC", "ec_paramgen_curve:P-521", 0x0603),
            ("rsa", "RSA", "rsa_keygen_bits:2048", 0x0804), ("ed25519", "ED25519", nil, 0x0807),
        ] as [(String, String, String?, UInt16)])
    func nothingOfAKeyIsLeft(_ name: String, _ algorithm: String, _ option: String?, _ scheme: UInt16) throws {
        let bench = try Bench("memory")
        let file =
            if let option { try bench.makeKey(name, algorithm, option) } else { try bench.makeKey(name, algorithm) }
        let secrets = try KeySecrets(of: file)
        let worker = try bench.worker()
        #expect(try secrets.found(in: worker, least: 4 << 20) == [])
        let (number, client) = try bench.open(file)
        let (other, second) = try bench.open(file, .tlsServer)
        for _ in 0..<50 {
            _ = try client.signature([1], scheme)
            _ = try second.signature(handshake(), scheme)
        }
        // While it is in use it is there, or this test would find nothing anywhere. Its text is not.
        let inUse = try secrets.found(in: worker, least: 4 << 20)
        #expect(!inUse.isEmpty)
        #expect(!inUse.contains { $0.hasPrefix("line") }, "\(inUse)")
        bench.signer.end(number)
        _ = try bench.report()
        #expect(try !secrets.found(in: worker, least: 4 << 20).isEmpty)
        // The last channel of the key: its client is gone, and nothing else happens in the signer.
        _ = consume second
        _ = consume client
        guard case .ended(channel: other, _) = try bench.report() else {
            Issue.record("it goes on")
            return
        }
        #expect(try secrets.found(in: worker, least: 4 << 20) == [])
        // The same by order.
        let (last, third) = try bench.open(file)
        _ = try third.signature([1], scheme)
        bench.signer.end(last)
        _ = try bench.report()
        #expect(try secrets.found(in: worker, least: 4 << 20) == [])
        // A key that cannot be used leaves nothing either.
        let text = try String(contentsOfFile: file, encoding: .utf8)
        try bench.folder.write("half", String(text.dropLast(60)))
        _ = try bench.request(bench.folder["half"])
        _ = try bench.report()
        #expect(try secrets.found(in: worker, least: 4 << 20) == [])
    }
}
