// The sandbox that the daemon makes for itself, without a service manager: what an attacker who has taken it over could
// not do. The system calls are made in the daemon itself, by ptrace.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: it becomes other accounts, and makes calls in the daemon's process"))
struct ConfinementTests {
    private let folder = TemporaryFolder("sandbox")

    private func daemon(_ policy: String = "") throws -> Daemon {
        try folder.directory("keys")
        try folder.directory("etc")
        try folder.write("keys/key", "KEY", mode: 0o600)
        try folder.write("etc/policy", "key k \(folder["keys/key"])\npermit 61001 key k\n\(policy)")
        return try Daemon(folder, policy: "", options: [], policyPath: folder["etc/policy"])
    }

    /// The result of each call if it is made in that process.
    private func outcomes(in pid: Int32, _ calls: [(name: String, call: String)]) throws -> [String: String] {
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/inject.py").path
        let input = try folder.write("calls", calls.map { "\($0.name) \($0.call)\n" }.joined())
        let (status, output, errors) = try Program.run(
            "/bin/sh", ["-c", "exec \(installed("python3") ?? "python3") \(script) \(pid) <\(input)"])
        try #require(status == 0, "\(errors)")
        return Dictionary(
            uniqueKeysWithValues: output.split(separator: "\n").compactMap { line in
                let words = line.split(separator: " ")
                return words.count == 2 ? (String(words[0]), String(words[1])) : nil
            })
    }

    private static let atWorkingDirectory = -100
    private static let readOnly = 0, writeOnly = 1, create = 0o101

    @Test(
        .enabled(if: isX86, "makes calls by their numbers on x86-64"),
        .disabled(if: Program.isSanitized, "a sanitizer is too slow for so many calls"))
    func whoTakesTheDaemonOverCannotDoMuch() throws {
        let daemon = try daemon()
        #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").status == "K")
        try folder.directory("other")
        try folder.write("other/key", "OTHER", mode: 0o644)
        // The directory is world-writable, so that only the sandbox can deny access.
        try folder.directory("open", mode: 0o777)
        try folder.write("open/file", "", mode: 0o666)
        try folder.write("keys/writable", "", mode: 0o666)
        func open(_ path: String, _ flags: Int) -> String {
            "openat \(Self.atWorkingDirectory) \"\(path)\" \(flags) 0o666"
        }

        let possible: [(String, String)] = [
            ("its-own-id", "getpid"), ("read-a-key", open(folder["keys/key"], Self.readOnly)),
            ("read-the-policy", open(folder["etc/policy"], Self.readOnly)),
            ("write-to-the-log", open(daemon.audit, Self.writeOnly)),
            ("make-a-file-beside-the-log", open(folder["log/new"], Self.create)), ("flags", "fcntl 1 3"),
            ("memory", "mmap 0 4096 3 0x22 -1 0"),
            ("signal-itself", "tgkill \(daemon.pid) \(daemon.pid) 0"),
        ]
        // It has the daemon's account, so that only the sandbox can deny the signal.
        let child = try #require(OtherProcess.children(of: daemon.pid).first)
        let files: [(String, String)] = [
            ("read-another-file", open(folder["other/key"], Self.readOnly)),
            ("read-shadow", open("/etc/shadow", Self.readOnly)), ("read-passwd", open("/etc/passwd", Self.readOnly)),
            ("write-to-a-key", open(folder["keys/writable"], Self.writeOnly)),
            ("write-elsewhere", open(folder["open/file"], Self.writeOnly)),
            ("make-a-file", open(folder["open/new"], Self.create)),
            ("remove-elsewhere", "unlink \"\(folder["open/file"])\""),
        ]
        let calls: [(String, String)] = [
            ("execute", "execve \"/bin/true\" 0 0"), ("execute-at", "execveat -100 \"/bin/true\" 0 0 0"),
            ("fork", "fork"),
            ("vfork", "vfork"), ("clone", "clone 17 0"), ("clone3", "clone3 0 0"), ("trace", "ptrace 16 1"),
            ("signal", "kill 1 0"), ("signal-a-child", "tgkill \(child) \(child) 0"),
            ("a-unix-socket", "socket 1 2 0"), ("internet", "socket 2 1 0"), ("internet6", "socket 10 1 0"),
            ("netlink", "socket 16 3 0"), ("packets", "socket 17 3 0"), ("vsock", "socket 40 1 0"),
            ("execute-memory", "mmap 0 4096 7 0x22 -1 0"), ("make-memory-executable", "mprotect 0x10000 4096 5"),
            ("memory-file", "memfd_create \"x\" 0"), ("namespaces", "unshare 0x10000000"), ("enter", "setns 0 0"),
            ("mount", "mount \"none\" \"/mnt\" \"tmpfs\" 0 0"), ("root", "chroot \"/\""), ("become-root", "setuid 0"),
            ("become", "setresuid 0 0 0"), ("capabilities", "capset 0 0"), ("prctl", "prctl 15 \"x\""),
            ("handle", "open_by_handle_at 0 0 0"), ("other-memory", "process_vm_readv 1 0 0 0 0 0"),
            ("bpf", "bpf 0 0 0"), ("rings", "io_uring_setup 1 0"), ("faults", "userfaultfd 0"),
            ("counters", "perf_event_open 0 0 0 0 0"), ("key-rings", "add_key \"user\" \"x\" \"y\" 1 -3"),
            ("modules", "init_module 0 0 \"\""), ("reboot", "reboot 0 0 0"),
            ("rename", "rename \"\(folder["open/file"])\" \"\(folder["open/other"])\""),
            ("link", "link \"\(folder["open/file"])\" \"\(folder["open/other"])\""),
            ("symlink", "symlink \"/etc\" \"\(folder["open/other"])\""),
            ("folder", "mkdir \"\(folder["open/d"])\" 0o777"),
            ("mode", "chmod \"\(daemon.audit)\" 0o777"), ("owner", "chown \"\(daemon.audit)\" 0 0"),
            ("truncate", "truncate \"\(daemon.audit)\" 0"),
            ("device", "mknodat -100 \"\(folder["open/n"])\" 0o10666 0"),
            ("terminal", "ioctl 0 0x5412 0"), ("watch", "inotify_add_watch 5 \"/home\" 2"),
            ("directory-watch", "fcntl 1 1026 0x80000004"), ("signal-owner", "fcntl 1 8 1"),
            ("set-id-file", "openat -100 \"\(folder["log/set"])\" 0o101 0o6755"),
            ("set-uid-file", "openat -100 \"\(folder["log/set"])\" 0o101 0o4755"),
            ("watches", "inotify_init1 0"), ("file-events", "fanotify_init 0 0"),
        ]
        for thread in try threads(of: daemon.pid) {
            let outcomes = try outcomes(in: thread, possible + files + calls)
            #expect(outcomes.count == possible.count + files.count + calls.count)
            for (name, _) in possible { #expect(outcomes[name] == "ok", "\(name)") }
            for (name, _) in files { #expect(outcomes[name] == "EACCES", "\(name)") }
            for (name, _) in calls { #expect(outcomes[name] == "EPERM", "\(name)") }
        }
        // None of that has harmed the daemon.
        #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").contents == ["KEY"])
        #expect(try daemon.stop() == 0)
    }

    @Test(.disabled(if: Program.isSanitized, "a sanitizer has a thread of its own, without the filter"))
    func theStatusTellsWhatStands() throws {
        let daemon = try daemon()
        let (status, output, errors) = try Program.run(
            Program.built("keybroker"), ["status", "--format", "json", "--socket", daemon.socket])
        try #require(status == 0, "\(errors)")
        let said = try #require(try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any])
        let walls = try #require(said["sandbox"] as? [[String: String]])
        #expect(
            walls.compactMap { $0["wall"] } == [
                "no-new-privileges", "name-service", "opener", "capabilities", "landlock", "seccomp",
            ])
        #expect(walls.allSatisfy { $0["state"]?.hasPrefix("missing") == false }, "\(walls)")
        // One thread serves, and the others read policies and mounts, and close. No service manager wants to be told.
        let threads = try threads(of: daemon.pid)
        #expect(threads.count == 4)
        for thread in threads {
            let process = try String(contentsOfFile: "/proc/\(thread)/status", encoding: .utf8)
            for line in [
                "CapPrm:\t0000000000000004", "CapAmb:\t0000000000000000", "CapInh:\t0000000000000000",
                "NoNewPrivs:\t1", "Seccomp:\t2",
            ] {
                #expect(process.contains("\(line)\n"), "\(line)")
            }
        }
    }

    private func threads(of pid: Int32) throws -> [Int32] {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task").compactMap { Int32($0) }.sorted()
    }

    /// The daemon's own sandbox cannot admit a directory that a reload adds. The process beside it opens the key.
    @Test func aDirectoryThatAReloadAddsIsServed() throws {
        let daemon = try daemon()
        try folder.directory("more")
        try folder.write("more/key", "MORE", mode: 0o600)
        let more = "key m \(folder["more/key"])\npermit 61001 key m\n"
        try folder.write("etc/policy", try folder.text("etc/policy") + more)
        let (status, output, errors) = try Program.run(
            Program.built("keybroker"), ["reload", "--socket", daemon.socket])
        #expect(status == 0)
        #expect(output.hasPrefix("in force: 2 keys"))
        #expect(!errors.contains("cannot be handed out"), "\(errors)")
        let reply = try PeerProcess(daemon.socket, uid: 61001).askWhileBusy("1Gm")
        #expect(reply.contents == ["MORE"])
        let record = try daemon.record(reply.decision)
        #expect((record["file"] as? [String: Any])?["path"] as? String == folder["more/key"])
        // It is trusted no more than any other.
        try folder.setAttributes("more/key", mode: 0o666)
        #expect(try PeerProcess(daemon.socket, uid: 61001).askWhileBusy("1Gm").text == "file-untrusted")
        try folder.remove("more/key")
        #expect(try PeerProcess(daemon.socket, uid: 61001).askWhileBusy("1Gm").text == "file-missing")
        #expect(try daemon.stop() == 0)
    }

    /// If another directory takes the name of a permitted one, the key is served from it.
    @Test func aDirectoryThatWasReplacedIsServed() throws {
        let daemon = try daemon()
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try peer.ask("1Gk").status == "K")
        try folder.shell("mv keys old; mkdir keys; printf NEXT > keys/key; chmod 600 keys/key")
        #expect(try peer.askWhileBusy("1Gk").contents == ["NEXT"])
        try folder.shell("mv keys new; mv old keys")
        #expect(try peer.ask("1Gk").contents == ["KEY"])
    }

    private func opener(of daemon: Daemon) throws -> Int32 {
        var found: Int32?
        // It has this name once it has begun.
        try waitUntil("there is an opener") {
            found = processOf(daemon, named: "keybrokerd-open")
            return found != nil
        }
        return try #require(found)
    }

    /// Its first thread waits in poll(2) for ever, as Swift's locks take it for a thread of the parent. It has no more rights
    /// than the others.
    @Test(.disabled(if: Program.isSanitized, "a sanitizer has a thread of its own, which is not the first"))
    func theOpenersFirstThreadOnlyWaits() throws {
        let daemon = try daemon()
        #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").status == "K")
        let opener = try opener(of: daemon)
        let threads = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(opener)/task")
        #expect(threads.count > 1)
        try waitUntil("the first thread waits") { OtherProcess.polls(opener) }
        for thread in threads {
            let status = try String(contentsOfFile: "/proc/\(opener)/task/\(thread)/status", encoding: .utf8)
            #expect(status.contains("\nSeccomp:\t2\n") && status.contains("\nNoNewPrivs:\t1\n"), "\(status)")
        }
    }

    /// Without the process that opens keys outside of the sandbox, the daemon serves what is inside, and says what is not.
    @Test func theOpenersEndIsSaidAndCostsOnlyWhatIsOutside() throws {
        let daemon = try daemon()
        kill(try opener(of: daemon), SIGKILL)
        try daemon.program.wait(for: "the end of the opener", in: .error) {
            $0.contains("the process that opens keys outside of the sandbox has ended") ? true : nil
        }
        try folder.directory("more")
        try folder.write("more/key", "MORE", mode: 0o600)
        let more = "key m \(folder["more/key"])\npermit 61001 key m\n"
        try folder.write("etc/policy", try folder.text("etc/policy") + more)
        let (status, _, errors) = try Program.run(Program.built("keybroker"), ["reload", "--socket", daemon.socket])
        #expect(status == 0)
        #expect(errors.contains("warning: key 'm' cannot be handed out until the broker is restarted"), "\(errors)")
        #expect(daemon.program.text(.error).contains("key 'm' cannot be handed out: \(folder["more/key"])"))
        let reply = try PeerProcess(daemon.socket, uid: 61001).ask("1Gm")
        #expect(reply.status == "U")
        #expect(reply.text == "outside-sandbox")
        #expect((try daemon.record(reply.decision)["detail"] as? String)?.hasPrefix(folder["more/key"]) == true)
        #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").status == "K")
        try daemon.stop()
        try daemon.restart()
        #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gm").contents == ["MORE"])
    }

    /// For keys behind links, the target's directory counts. A rotation that renames within the directory stays inside.
    @Test func linksAndRotationsStayInside() throws {
        try folder.directory("archive")
        try folder.directory("live")
        try folder.write("archive/one", "ONE", mode: 0o600)
        try folder.link("live/key", to: "../archive/one")
        let daemon = try daemon("key l \(folder["live/key"])\npermit 61001 key l\n")
        let peer = try PeerProcess(daemon.socket, uid: 61001)
        #expect(try peer.ask("1Gl").contents == ["ONE"])
        try folder.write("archive/two", "TWO", mode: 0o600)
        try folder.shell("ln -sfn ../archive/two live/key")
        #expect(try peer.ask("1Gl").contents == ["TWO"])
        try folder.write("keys/next", "NEXT", mode: 0o600)
        try folder.shell("mv keys/next keys/key")
        #expect(try peer.ask("1Gk").contents == ["NEXT"])
    }

    /// A separate process looks up names. It has no capability, writes nothing, and ends with the daemon.
    @Test func theNameServiceIsAProcessOfItsOwn() throws {
        let daemon = try daemon()
        // Nobody waits for it before the first name is looked up, and this policy has none.
        var found: Int32?
        try waitUntil("there is such a process") {
            found = processOf(daemon, named: "keybrokerd-name")
            return found != nil
        }
        let child = try #require(found)
        func status() throws -> String { try String(contentsOfFile: "/proc/\(child)/status", encoding: .utf8) }
        try waitUntil("it has no capability") { try status().contains("CapPrm:\t0000000000000000\n") }
        let process = try status()
        for line in ["Name:\tkeybrokerd-name", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"] {
            #expect(process.contains("\(line)\n"), "\(line)")
        }
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: "/proc/\(child)/fd").sorted() == ["0", "1", "2", "3"])
        // The reload uses a name that only the name service could have looked up.
        try folder.write("etc/policy", try folder.text("etc/policy") + "permit daemon key k\n")
        #expect(try Program.run(Program.built("keybroker"), ["reload", "--socket", daemon.socket]).status == 0)
        #expect(try PeerProcess(daemon.socket, uid: 61001).ask("1Gk").status == "K")
        #expect(try daemon.stop() == 0)
    }
}

#if arch(x86_64)
    private let isX86 = true
#else
    private let isX86 = false
#endif

/// The child of the daemon that has this name. Nil if it has none, or not yet.
private func processOf(_ daemon: Daemon, named name: String) -> Int32? {
    OtherProcess.children(of: daemon.pid).first { OtherProcess.name(of: $0) == name }
}
