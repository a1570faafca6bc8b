// What is left if the broker, the command, or the process beside the command is killed.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: it becomes other accounts"), .serialized)
struct ExecKillTests {
    private let fixture: ExecFixture
    private var folder: TemporaryFolder { fixture.folder }

    init() throws {
        fixture = try ExecFixture("kills")
        try ExecFixture.pair("a", in: folder)
        try ExecFixture.pair("b", in: folder)
    }

    @Test func aRotationWhileTheBrokerIsAwayIsNotLost() throws {
        let service = try RotatingService(fixture)
        for name in ["a", "b"] {
            try fixture.daemon.kill()
            try fixture.rotate(to: name)
            #expect(try service.read().isPair)
            try fixture.daemon.restart()
            #expect(try service.nextReading().isOf(name, in: folder))
        }
        #expect(try service.end() == 3)
    }

    /// The process beside the command ends with it, in whatever way the command ends, and leaves no zombie.
    @Test(arguments: [SIGKILL, SIGTERM]) func theCommandIsKilled(_ signal: Int32) throws {
        let service = try RotatingService(fixture)
        let watcher = try service.watcher()
        service.program.signal(signal)
        let status = try service.program.waitForExit()
        // The tests may run with SIGTERM blocked.
        #expect(status == -signal || signal == SIGTERM)
        try waitUntil("the process beside it has ended") { !RotatingService.exists(watcher) }
    }

    @Test func theProcessBesideIsKilled() throws {
        let service = try RotatingService(fixture)
        try fixture.rotate(to: "a")
        #expect(try service.nextReading().isOf("a", in: folder))
        let watcher = try service.watcher()
        kill(watcher, SIGKILL)
        try waitUntil("it has ended") { !RotatingService.exists(watcher) }
        try fixture.rotate(to: "b")
        // The last good key stays.
        #expect(try service.read().isOf("a", in: folder))
        #expect(try service.end() == 3)
    }

    /// Signals that are meant for the command, or for all processes of a unit, do not end it.
    @Test(.disabled(if: Program.isSanitized, "a sanitizer delays signals"))
    func otherSignalsAreNotForIt() throws {
        let service = try RotatingService(fixture)
        let watcher = try service.watcher()
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGTSTP, SIGUSR1, SIGPIPE, SIGCHLD] { kill(watcher, signal) }
        try fixture.rotate(to: "a")
        #expect(try service.nextReading().isOf("a", in: folder))
        #expect(try service.watcher() == watcher)
        #expect(try service.end() == 3)
    }

    /// Killed at any step of a rotation, it leaves the service with a pair, or with no key to read.
    @Test func killsInTheMiddleLeaveAPairOrNothing() throws {
        for round in 0..<20 {
            let service = try RotatingService(fixture)
            let watcher = try service.watcher()
            let name = ["a", "b"][round % 2]
            try fixture.rotate(to: name)
            // Somewhere between the change and the signal, which take about 130 milliseconds.
            Thread.sleep(forTimeInterval: 0.09 + 0.003 * Double(round))
            kill(watcher, SIGKILL)
            if round % 3 == 0 { try fixture.daemon.kill() }
            let reading = try service.read()
            #expect(reading.isPair || reading.key.isEmpty, "round \(round): \(reading.error)")
            if round % 3 == 0 { try fixture.daemon.restart() }
            #expect(try service.end() == 3)
            try waitUntil("it has ended") { !RotatingService.exists(watcher) }
        }
    }

    // MARK: What others can reach

    /// The process beside the command holds the files for writing. Nobody but root can get at them, or at its memory.
    @Test func theProcessBesideIsClosed() throws {
        let service = try RotatingService(fixture)
        let watcher = try service.watcher()
        let (_, output, errors) = try Program.run(
            installed("setpriv") ?? "setpriv",
            ExecFixture.account + ["/bin/sh", "-c", "ls /proc/\(watcher)/fd; cat /proc/\(watcher)/mem"])
        #expect(output.isEmpty)
        #expect(errors.components(separatedBy: "Permission denied").count == 3, "\(errors)")
        #expect(try service.end() == 3)
    }

    /// Once the files are written, the key is nowhere in the memory of that process.
    @Test(.disabled(if: Program.isSanitized, "a sanitizer has too much memory to read it"))
    func noKeyLingersInItsMemory() throws {
        let service = try RotatingService(fixture)
        let watcher = try service.watcher()
        try folder.shell("cp -p web.key first.key")
        try fixture.rotate(to: "a")
        #expect(try service.nextReading().isOf("a", in: folder))
        let script = """
            import base64, sys
            pid, *names = sys.argv[1:]
            needles = []
            for name in names:
                lines = [line for line in open(name).read().split("\\n") if line and not line.startswith("---")]
                needles += [line.encode() for line in lines]
                # The private number of the key, as it stands in the DER, and the other way round.
                der = base64.b64decode("".join(lines))
                begin = der.index(b"\\x02\\x01\\x01\\x04\\x20") + 5
                needles += [der[begin:begin + 32], der[begin:begin + 32][::-1]]
            found = set()
            for line in open(f"/proc/{pid}/maps"):
                area, rights = line.split()[:2]
                if "r" not in rights or "[v" in line: continue
                begin, end = (int(number, 16) for number in area.split("-"))
                with open(f"/proc/{pid}/mem", "rb", 0) as memory:
                    memory.seek(begin)
                    try: content = memory.read(end - begin)
                    except OSError: continue
                found |= {(number, line.strip()) for number, needle in enumerate(needles) if needle in content}
            print(len(needles), sorted(found))
            """
        let scan = try Program.run(
            "/usr/bin/python3", ["-c", script, String(watcher), folder["first.key"], folder["a.key"]])
        #expect(scan.output == "10 []\n", "\(scan.output) \(scan.errors)")
        #expect(try service.end() == 3)
    }
}
