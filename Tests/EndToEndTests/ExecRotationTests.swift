// `keybroker exec --on-rotate`: each later key reaches the command, as a pair, and the command is told.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: it becomes other accounts"), .serialized)
struct ExecRotationTests {
    private let fixture: ExecFixture
    private var folder: TemporaryFolder { fixture.folder }

    init() throws {
        fixture = try ExecFixture("rotation")
        try ExecFixture.pair("a", in: folder)
        try ExecFixture.pair("b", in: folder)
    }

    // MARK: The command learns of it

    @Test func aRotationReachesTheCommand() throws {
        let service = try RotatingService(fixture)
        #expect(try service.read().isOf("web", in: folder))
        try fixture.rotate(to: "a")
        let first = try service.nextReading()
        #expect(first.why == "signal")
        #expect(try first.isOf("a", in: folder))
        try fixture.rotate(to: "b")
        let second = try service.nextReading()
        #expect(try second.isOf("b", in: folder))
        // There are programs that compare whole seconds.
        #expect(second.mtime / 1_000_000_000 > first.mtime / 1_000_000_000)
        #expect(try service.end() == 3)
    }

    /// The command cannot see who looks after its files: it is the same process, without a child.
    @Test func theCommandIsTheSameProcess() throws {
        let service = try RotatingService(fixture)
        #expect(service.pid == service.program.pid)
        let children = try String(
            contentsOfFile: "/proc/\(service.pid)/task/\(service.pid)/children", encoding: .ascii)
        #expect(children.isEmpty)
        let watcher = try service.watcher()
        let status = try String(contentsOfFile: "/proc/\(watcher)/stat", encoding: .ascii)
        // Its session is its own.
        #expect(status.split(separator: " ")[5] == "\(watcher)")
        #expect(try service.end() == 3)
        try waitUntil("the process beside it has ended") { !RotatingService.exists(watcher) }
    }

    @Test func manyRotationsAreAllPairs() throws {
        let service = try RotatingService(fixture)
        let watcher = try service.watcher()
        let before = try RotatingService.descriptors(watcher)
        let ownBefore = try service.read().descriptors
        var told = 0
        for round in 0..<200 {
            try fixture.rotate(to: ["a", "b"][round % 2])
            // Not each of them is announced if they come too fast. The last one always is.
            if round % 10 != 9 { continue }
            while true {
                let reading = try service.nextReading()
                told += 1
                #expect(reading.isPair, "\(round): \(reading.error)")
                if try reading.isOf("b", in: folder) { break }
            }
        }
        #expect(told >= 20)
        // What was read above may have been an earlier content of the same name.
        var last = try service.read()
        try waitUntil("the last content is there") {
            last = try service.read()
            return try last.isOf("b", in: folder)
        }
        #expect(last.descriptors == ownBefore)
        #expect(try RotatingService.descriptors(watcher) == before)
        #expect(try service.end() == 3)
    }

    @Test func aBundleIsRenewedToo() throws {
        let options = ["--bundle", "web=8", "--on-rotate-run", "touch \(folder["out/told"])"]
        try folder.directory("out", mode: 0o777)
        let service = try fixture.start(options, ["/bin/cat"])
        try waitUntil("the command runs") { FileManager.default.fileExists(atPath: "/proc/\(service.pid)/fd/8") }
        try fixture.rotate(to: "a")
        try waitUntil("the command of the rotation ran") {
            FileManager.default.fileExists(atPath: folder["out/told"])
        }
        let bundle = try String(contentsOfFile: "/proc/\(service.pid)/fd/8", encoding: .ascii)
        #expect(bundle == (try folder.text("a.crt")) + (try folder.text("a.key")))
        #expect(try service.waitForExit() == 0)
    }

    // MARK: What is not done

    @Test func halfARotationChangesNothing() throws {
        let service = try RotatingService(fixture)
        try folder.shell("cp a.crt new.crt; mv new.crt web.crt")
        try service.program.wait(for: "the complaint", in: .error) {
            $0.contains("do not belong together") && $0.contains("until the next change") ? true : nil
        }
        let meanwhile = try service.read()
        #expect(meanwhile.isPair)
        #expect(meanwhile.key == (try folder.text("web.key")))
        try folder.shell("cp -p a.key new.key; mv new.key web.key")
        #expect(try service.nextReading().isOf("a", in: folder))
        #expect(try service.end() == 3)
    }

    /// A signal that would end the command waits until the command handles it.
    @Test func aCommandIsNotEndedBecauseItIsNotReady() throws {
        let service = try RotatingService(fixture, ["late"])
        try fixture.rotate(to: "a")
        // The files are there before the signal is sent.
        try waitUntil("the files are renewed") { try service.read().isOf("a", in: folder) }
        try service.program.wait(for: "the explanation", in: .error) {
            $0.contains("SIGHUP would end the command") ? true : nil
        }
        try service.program.send("handle")
        #expect(try service.nextReading().why == "handle")
        #expect(try service.nextReading().why == "signal")
        #expect(try service.end() == 3)
    }

    /// The same if it cannot be seen what the command handles: nobody may read its program, so /proc hides the process.
    @Test func aCommandThatIsHiddenIsNotEndedWhileItMayBeStarting() throws {
        let program = folder["hidden"]
        try folder.shell("cp \"$(readlink -f /usr/bin/python3)\" hidden; chmod 0111 hidden")
        let service = try RotatingService(
            fixture, ["late"], python: program,
            before: [
                installed("unshare") ?? "unshare", "--mount", "/bin/sh", "-c",
                "mount -t proc -o hidepid=invisible proc /proc && exec \"$@\"", "sh",
            ], environment: ["PYTHONHOME": "/usr"])
        try fixture.rotate(to: "a")
        try service.program.wait(for: "the explanation", in: .error) {
            $0.contains("/proc does not show whether process \(service.pid) handles SIGHUP") ? true : nil
        }
        #expect(try service.read().isOf("a", in: folder))
        #expect(try service.end() == 3)
    }

    @Test(.enabled(if: installed("prlimit") != nil, "needs prlimit"))
    func aRotationThatFindsNoFreeDescriptorComesLater() throws {
        let service = try RotatingService(fixture)
        let watcher = try service.watcher()
        let prlimit = try #require(installed("prlimit"))
        // The account may do it. Root may not everywhere.
        func limit(_ number: Int) throws {
            let (status, _, errors) = try Program.run(
                installed("setpriv") ?? "setpriv",
                ExecFixture.account + [prlimit, "--pid", "\(watcher)", "--nofile=\(number):"])
            #expect(status == 0, "\(errors)")
        }
        let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(watcher)/fd").compactMap { Int($0) }
        try limit(try #require((0...open.count).first { !open.contains($0) }))
        try fixture.rotate(to: "a")
        try service.program.wait(for: "the complaint", in: .error) {
            $0.contains("RLIMIT_NOFILE") && $0.contains("this is tried again") ? true : nil
        }
        try limit(64)
        #expect(try service.nextReading().isOf("a", in: folder))
        #expect(try service.end() == 3)
    }

    @Test func aPermissionThatIsTakenAwayLeavesTheLastKey() throws {
        let service = try RotatingService(fixture)
        try folder.write("policy", "key web \(folder["web.key"]) certificate \(folder["web.crt"])\n")
        _ = try fixture.daemon.reload()
        try service.program.wait(for: "the end of the watch", in: .error) {
            $0.contains("gets no later one until it is started again") ? true : nil
        }
        try fixture.rotate(to: "a")
        let reading = try service.read()
        #expect(reading.isPair)
        #expect(reading.key != (try folder.text("a.key")))
        #expect(try service.end() == 3)
    }

    // MARK: --on-rotate-run

    @Test func theCommandOfARotationKnowsTheProcess() throws {
        try folder.directory("out", mode: 0o777)
        let service = try RotatingService(
            fixture,
            options: ["--on-rotate-run", "echo said; echo $KEYBROKER_SERVICE_PID >\(folder["out/pid"]); exit 5"])
        try fixture.rotate(to: "a")
        try service.program.wait(for: "its failure", in: .error) {
            $0.contains("said\n") && $0.contains("did not succeed: it ended with status 5") ? true : nil
        }
        #expect(try folder.text("out/pid") == "\(service.pid)\n")
        #expect(try service.end() == 3)
    }

    /// While one runs, later rotations wait, and are told of once.
    @Test func oneCommandAtATime() throws {
        try folder.directory("out", mode: 0o777)
        let log = folder["out/log"]
        let service = try RotatingService(
            fixture,
            options: [
                "--on-rotate-run",
                "echo begin >>\(log); while [ ! -e \(log).go ]; do sleep 0.02; done; echo end >>\(log)",
            ])
        try fixture.rotate(to: "a")
        try waitUntil("the first one runs") { (try? folder.text("out/log")) == "begin\n" }
        for name in ["b", "a", "b"] {
            try fixture.rotate(to: name)
            try waitUntil("the files are renewed") { try service.read().isOf(name, in: folder) }
        }
        #expect(try folder.text("out/log") == "begin\n")
        try folder.shell("touch out/log.go")
        try waitUntil("both have ended") { try folder.text("out/log") == "begin\nend\nbegin\nend\n" }
        #expect(try service.end() == 3)
    }
}
