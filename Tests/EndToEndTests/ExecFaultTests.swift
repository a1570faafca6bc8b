// `keybroker exec` where something is wrong here: limits, closed streams, reads that fail, and a broker with a full queue.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: it becomes other accounts"), .serialized)
struct ExecFaultTests {
    private let fixture: ExecFixture
    private var folder: TemporaryFolder { fixture.folder }

    init() throws {
        fixture = try ExecFixture("exec-fault")
        try ExecFixture.pair("a", in: folder)
    }

    /// The limit is also that of a file in memory. The kernel sends a signal that ends who does not expect it.
    @Test(arguments: [[], ["--on-rotate", "HUP"]]) func aLimitOfFileSizesIsSaid(_ options: [String]) throws {
        let (setpriv, words) = fixture.commandLine(options + ["--key", "web"], ["/bin/true"])
        let (status, _, errors) = try Program.run(
            installed("python3") ?? "python3", ["-c", Self.limited, setpriv] + words)
        #expect(status == 71)
        #expect(
            errors == "keybroker: pwrite: the limit of file sizes holds for files in memory, too; raise it "
                + "(LimitFSIZE=, ulimit -f) (EFBIG)\n")
    }

    /// Runs a command with the limit. Whoever runs the tests may have blocked or ignored the signal.
    private static let limited = """
        import os, resource, signal, sys
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGXFSZ])
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        os.execv(sys.argv[1], sys.argv[1:])
        """

    /// The command of the rotation has a standard error of its own in its place.
    @Test func aClosedStandardErrorIsNoFileOfTheCommand() throws {
        try folder.directory("out", mode: 0o777)
        let service = try RotatingService(
            fixture,
            options: ["--on-rotate-run", "readlink /proc/$$/fd/0 /proc/$$/fd/2 >\(folder["out/fds"])"],
            before: ["/bin/sh", "-c", "exec \"$0\" \"$@\" 2>&-"])
        try fixture.rotate(to: "a")
        try waitUntil("the command of the rotation has run") {
            (try? folder.text("out/fds"))?.split(separator: "\n").count == 2
        }
        #expect(try folder.text("out/fds") == "/dev/null\n/dev/null\n")
        #expect(try service.end() == 3)
    }

    /// No other rotation is needed.
    @Test(.enabled(if: installed("strace") != nil, "needs strace"))
    func aRotationThatCannotBeReadComesLater() throws {
        let service = try RotatingService(fixture)
        _ = try Trace.lines(of: try service.watcher(), options: ["-e", "inject=pread64:error=EIO:when=1..2"]) {
            try fixture.rotate(to: "a")
            #expect(try service.nextReading().isOf("a", in: folder))
        }
        let said = service.program.lines(.error)
        #expect(said.count == 1, "\(said)")
        #expect(said.first?.contains("pread: Input/output error (EIO); the command keeps the key that it has") == true)
        #expect(said.first?.hasSuffix("until the next attempt") == true)
        #expect(try service.end() == 3)
    }

    /// The broker is there, so that whoever does not wait for one has to wait for this.
    @Test(arguments: [[], ["--on-rotate", "HUP"]]) func aFullQueueIsWaitedFor(_ options: [String]) throws {
        let script = testsFolder.appendingPathComponent("ClientTests/Brokers/turns.py").path
        let broker = try Program(
            installed("python3") ?? "python3",
            [script, "--full", folder["s"], options.isEmpty ? "1K7" : "1K7 0"])
        _ = try broker.wait(forLines: 1)
        let command = try Program(
            Program.built("keybroker"),
            ["exec", "--socket", folder["s"], "--key", "k=7"] + options + [
                "--", "/usr/bin/head", "-n1", "/proc/self/fd/7",
            ])
        usleep(500_000)
        #expect(command.isRunning, "\(command.text(.error))")
        try broker.send("go")
        #expect(try command.waitForExit() == 0)
        #expect(command.text().hasPrefix("\"\"\"A broker that"))
        broker.signal(SIGKILL)
        try broker.waitForExit()
    }
}
