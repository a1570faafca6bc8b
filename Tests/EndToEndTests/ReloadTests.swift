// A reload: in the daemon's own sandbox, while others ask, and while the name service hangs or has ended.

import Foundation
import TestSupport
import Testing

struct ReloadTests {
    private let folder = TemporaryFolder("reload")

    /// Regression: the filter of system calls did not permit what fdopendir(3) does, so no directory could be read again.
    @Test func aDirectoryOfPoliciesIsReadAgain() throws {
        try folder.write("key", "KEY", mode: 0o600)
        try folder.directory("policy.d")
        try folder.write("policy.d/a.policy", "key a \(folder["key"])\n")
        let daemon = try Daemon(folder, policy: "", policyPath: folder["policy.d"])
        try folder.write("policy.d/b.policy", "key b \(folder["key"])\npermit \(geteuid()) key a b\n")
        #expect(try daemon.reload().contains("the policy was read anew: 2 keys"))
        let list = try Program.run(Program.built("keybroker"), ["list", "--socket", daemon.socket])
        #expect(list.output == "a\nb\n")
    }

    // MARK: A name service that hangs

    private func daemon() throws -> Daemon {
        try folder.write("key", "KEY", mode: 0o600)
        return try Daemon(folder, policy: "key a \(folder["key"])\npermit \(geteuid()) key a\n")
    }

    /// Adds a key, and a name that has to be looked up.
    private func add(_ key: String, for user: String) throws {
        let more = "key \(key) \(folder["key"])\npermit \(geteuid()) key \(key)\npermit \(user) key \(key)\n"
        try folder.write("policy", try folder.text("policy") + more)
    }

    private func tool(_ daemon: Daemon, _ arguments: String...) throws -> (
        status: Int32, output: String, errors: String
    ) {
        try Program.run(Program.built("keybroker"), arguments + ["--socket", daemon.socket])
    }

    private func status(_ daemon: Daemon) throws -> [String: Any] {
        let output = try tool(daemon, "status", "--format", "json").output
        return try #require(try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any], "\(output)")
    }

    /// The process that looks up names for the daemon.
    private func lookup(of daemon: Daemon) throws -> Int32 {
        // The kernel's list of children may miss one while another ends (proc(5)).
        var found: Int32?
        try waitUntil("there is a name service") {
            found = OtherProcess.descendants(of: daemon.pid).last { OtherProcess.name(of: $0) == "keybrokerd-name" }
            return found != nil
        }
        return try #require(found)
    }

    /// Stops the name service and begins a reload, which then waits for it.
    private func hang(_ daemon: Daemon) throws -> Int32 {
        let child = try lookup(of: daemon)
        try OtherProcess.stop(child)
        daemon.program.signal(SIGHUP)
        try waitUntil("the reload is running") { try status(daemon)["reload"] as? String == "running" }
        return child
    }

    @Test func requestsAreAnsweredWhileTheNameServiceHangs() throws {
        let daemon = try daemon()
        try add("b", for: "daemon")
        let child = try hang(daemon)
        #expect(try tool(daemon, "get", "a").output == "KEY")
        // What came before the reload has ended is decided by the old policy.
        #expect(try tool(daemon, "get", "b").status != 0)
        #expect(try tool(daemon, "status").output.contains("\n             a reload is running, for "))
        let metrics = try tool(daemon, "status", "--format", "openmetrics").output
        #expect(metrics.contains("\nkeybroker_policy_reload_running 1\n"))
        let before = daemon.program.text(.error)
        #expect(!before.contains("read anew"))
        #expect(kill(child, SIGCONT) == 0)
        try daemon.program.wait(for: "the end of the reload", in: .error) {
            $0.contains("read anew: 2 keys") ? true : nil
        }
        #expect(try tool(daemon, "get", "b").output == "KEY")
        let said = try status(daemon)
        #expect(said["reload"] as? String == "none" && said["reload-seconds"] as? Int == 0)
        #expect(said["reloads-begun"] as? Int == 1 && said["last-reload-number"] as? Int == 1)
        #expect(try daemon.stop() == 0)
    }

    /// All signals during a reload are one more reload after it.
    @Test func twoReloadsNeverRunAtOnce() throws {
        let daemon = try daemon()
        try add("b", for: "daemon")
        let child = try hang(daemon)
        for _ in 0..<3 { daemon.program.signal(SIGHUP) }
        // The signals are taken before this is answered, or together with it.
        #expect(try tool(daemon, "get", "a").output == "KEY")
        #expect(try status(daemon)["reloads-begun"] as? Int == 1)
        #expect(kill(child, SIGCONT) == 0)
        try waitUntil("both reloads are over") {
            let said = try status(daemon)
            return said["last-reload-number"] as? Int == 2 && said["reload"] as? String == "none"
        }
        #expect(try daemon.records().count { $0["event"] as? String == "reload" } == 2)
        #expect(try status(daemon)["reloads-applied"] as? Int == 2)
        #expect(try daemon.stop() == 0)
    }

    /// A reload that was running may have read the files before they were changed.
    @Test func theToolWaitsForAReloadThatBeganAfterIt() throws {
        let daemon = try daemon()
        try add("b", for: "daemon")
        let child = try hang(daemon)
        try add("c", for: "daemon")
        let tool = try Program(
            Program.built("keybroker"), ["reload", "--socket", daemon.socket, "--policy", folder["policy"]])
        // The tool asks for the status twice, and then again and again after its signal.
        func queries() throws -> Int {
            let requests = try #require(try status(daemon)["requests"] as? [[String: Any]])
            return requests.filter { $0["verb"] as? String == "status" }.compactMap { $0["count"] as? Int }.reduce(0, +)
        }
        let first = try queries()
        var own = 0
        try waitUntil("the tool has sent its signal") {
            own += 1
            return try queries() - first - own >= 4
        }
        #expect(tool.isRunning)
        #expect(kill(child, SIGCONT) == 0)
        #expect(try tool.waitForExit() == 0, "\(tool.text(.error))")
        #expect(tool.text().hasPrefix("in force: 3 keys"))
        #expect(try status(daemon)["last-reload-number"] as? Int == 2)
        #expect(try daemon.stop() == 0)
    }

    @Test func aStopEndsAReload() throws {
        let daemon = try daemon()
        try add("b", for: "daemon")
        let child = try hang(daemon)
        #expect(try daemon.stop() == 0)
        #expect(try daemon.records().last?["event"] as? String == "stop")
        #expect(try daemon.records().contains { $0["event"] as? String == "reload" } == false)
        // It is stopped, so it does not notice that the daemon has gone: the kernel kills it (PR_SET_PDEATHSIG).
        try waitUntil("the name service has ended") { OtherProcess.name(of: child) != "keybrokerd-name" }
    }

    // MARK: A name service that has ended

    @Test func theProcessThatLooksUpNamesIsMadeAnew() throws {
        let daemon = try daemon()
        var known: Set<Int32> = []
        for key in ["b", "c", "d"] {
            let child = try lookup(of: daemon)
            #expect(known.insert(child).inserted)
            #expect(kill(child, SIGKILL) == 0)
            try add(key, for: "daemon")
            let (status, _, errors) = try tool(daemon, "reload")
            #expect(status == 0, "\(errors)")
            #expect(try tool(daemon, "get", key).output == "KEY")
        }
        let made = try lookup(of: daemon)
        let process = try String(contentsOfFile: "/proc/\(made)/status", encoding: .utf8)
        for line in ["CapPrm:\t0000000000000000", "NoNewPrivs:\t1"] {
            #expect(process.contains("\(line)\n"), "\(line)")
        }
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: "/proc/\(made)/fd").sorted() == ["0", "1", "2", "3"])
        #expect(try daemon.stop() == 0)
        try waitUntil("it has ended with the daemon") { OtherProcess.name(of: made) != "keybrokerd-name" }
    }

    /// It is asked again if it ends in the middle of a question.
    @Test func aQuestionIsAskedAgain() throws {
        let daemon = try daemon()
        try add("b", for: "daemon")
        let child = try hang(daemon)
        #expect(kill(child, SIGKILL) == 0)
        try daemon.program.wait(for: "the end of the reload", in: .error) {
            $0.contains("read anew: 2 keys") ? true : nil
        }
        #expect(try daemon.stop() == 0)
    }

    /// If nobody can make it anew, a policy with a new name is rejected, and the daemon goes on.
    @Test func withoutItsMakerItStaysAway() throws {
        let daemon = try daemon()
        var found: Int32?
        try waitUntil("there is a maker") {
            found = OtherProcess.descendants(of: daemon.pid).first { OtherProcess.name(of: $0) == "keybrokerd-make" }
            return found != nil
        }
        let maker = try #require(found)
        #expect(kill(maker, SIGKILL) == 0)
        try add("b", for: "daemon")
        #expect(try tool(daemon, "reload").status == 0)
        #expect(kill(try lookup(of: daemon), SIGKILL) == 0)
        try add("c", for: "daemon")
        for _ in 0..<2 {
            let said = try daemon.reload()
            #expect(said.contains("cannot be looked up: the process that looks up names has ended; restart keybrokerd"))
        }
        #expect(try tool(daemon, "get", "b").output == "KEY")
        #expect(try daemon.stop() == 0)
    }
}
