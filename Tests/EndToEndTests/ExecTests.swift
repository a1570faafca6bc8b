// `keybroker exec` without rotation: what the command is given, what it is not given, and how it ends.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: it becomes other accounts"))
struct ExecTests {
    private let fixture: ExecFixture
    private var folder: TemporaryFolder { fixture.folder }

    init() throws { fixture = try ExecFixture("exec") }

    // MARK: What the command is given

    @Test func aCommandCanReadItsFiles() throws {
        let given = try fixture.given(
            ["--key", "web=9", "--certificate", "web", "--env", "CHAIN=web.bundle"],
            ["--key={web}", "{web.certificate}", "{bare}", "{{web}}"], environment: ["HOME": "/"])
        let key = try folder.text("web.key")
        let certificate = try folder.text("web.crt")
        #expect(given.content(9) == key)
        #expect(given.content(3) == certificate)
        #expect(given.content(4) == certificate + key)
        #expect(given.content(5) == (try folder.text("other.key")))
        #expect(
            given.arguments == ["--key=/proc/self/fd/9", "/proc/self/fd/3", "/proc/self/fd/5", "{web}"])
        #expect(given.environment["CHAIN"] == "/proc/self/fd/4")
        #expect(Set(given.keys.keys) == ["3", "4", "5", "9"])
        for (number, file) in given.keys {
            #expect(file["mode"] as? String == "-r--------", "\(number)")
            #expect(file["owner"] as? Int == ExecFixture.uid)
            #expect(file["offset"] as? Int == 0)
            // F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE; 0x20 is F_SEAL_EXEC, of Linux 6.3.
            #expect(((file["seals"] as? Int) ?? 0) & 0xF == 0xF)
            #expect(file["writable"] as? Bool == false)
        }
    }

    /// The command has what its caller gave it, and the keys, and nothing else.
    @Test func nothingElseChanges() throws {
        // The shell gives it one descriptor more than the standard streams, one ignored signal and one blocked one.
        func given(_ prefix: [String]) throws -> Given {
            // Other tests start programs at the same time, whose pipes this one may inherit.
            let script =
                "for n in $(ls /proc/$$/fd); do [ $n -gt 2 ] && [ $n -ne 255 ] && eval \"exec $n>&-\"; done; "
                + "exec 5</dev/null; exec env --ignore-signal=USR2 --block-signal=USR1 \"$@\""
            let (status, output, errors) = try Program.run(
                installed("setpriv") ?? "setpriv",
                ExecFixture.account + ["/bin/bash", "-c", script, "bash"] + prefix
                    + ["/usr/bin/python3", ExecFixture.given, "x"],
                environment: ["HOME": "/", "NOTIFY_SOCKET": "/run/nobody", "KEYBROKER_SOCKET": fixture.daemon.socket])
            try #require(status == 0, "\(errors)")
            return try Given(output)
        }
        let alone = try given([])
        let executed = try given([Program.built("keybroker"), "exec", "--key", "web", "--"])
        #expect(executed.signals == alone.signals)
        #expect(executed.environment == alone.environment)
        #expect(executed.arguments == alone.arguments)
        #expect(executed.keys.keys.sorted() == ["3"])
        #expect(Set(executed.files.keys).subtracting(["3"]) == Set(alone.files.keys))
        #expect(alone.files["5"]?["target"] as? String == "/dev/null")
        // The key is nowhere but in its file.
        let line = try #require(try folder.text("web.key").split(separator: "\n").dropFirst().first)
        #expect(!executed.environment.description.contains(line))
        #expect(executed.text.components(separatedBy: line).count == 2)
    }

    @Test func closedStandardStreamsStayClosed() throws {
        let script = """
            "$0" exec --socket "$1" --key web -- /bin/sh -c 'for n in 0 1 2 3; do [ -e /proc/$$/fd/$n ] && echo $n; done >"$0"' \
                "$2" <&- >&- 2>&-
            """
        try folder.directory("out", mode: 0o777)
        let (status, _, _) = try Program.run(
            installed("setpriv") ?? "setpriv",
            ExecFixture.account + [
                "/bin/sh", "-c", script, Program.built("keybroker"), fixture.daemon.socket, folder["out/numbers"],
            ])
        #expect(status == 0)
        // The redirection of the inner shell is 1.
        #expect(try folder.text("out/numbers") == "1\n3\n")
    }

    @Test func theBytesOfArgumentsAreKept() throws {
        let script = "exec \"$0\" exec --socket \"$1\" -- /usr/bin/python3 \"$2\" \"$(printf '\\377{web}\\300')\""
        let (status, output, errors) = try Program.run(
            installed("setpriv") ?? "setpriv",
            ExecFixture.account + [
                "/bin/sh", "-c", script, Program.built("keybroker"), fixture.daemon.socket, ExecFixture.given,
            ])
        #expect(status == 0, "\(errors)")
        #expect(try Given(output).arguments == ["\u{FF}/proc/self/fd/3\u{C0}"])
    }

    // MARK: Numbers that are in use

    /// sd_listen_fds(3): the process keeps its number, so the command is the one that they are meant for.
    @Test func socketsOfAServiceManagerPassThrough() throws {
        func given(_ options: String) throws -> (status: Int32, output: String, errors: String) {
            let script = """
                exec 3</dev/null 4</dev/null
                LISTEN_FDS=2 LISTEN_PID=$$ exec "$0" exec --socket "$1" \(options) -- /usr/bin/python3 "$2"
                """
            return try Program.run(
                installed("setpriv") ?? "setpriv",
                ExecFixture.account + [
                    "/bin/sh", "-c", script, Program.built("keybroker"), fixture.daemon.socket, ExecFixture.given,
                ])
        }
        let (status, output, errors) = try given("--key web")
        #expect(status == 0, "\(errors)")
        let passed = try Given(output)
        #expect(passed.environment["LISTEN_PID"] == String(passed.pid))
        #expect(passed.environment["LISTEN_FDS"] == "2")
        #expect(passed.keys.keys.sorted() == ["5"])
        let clash = try given("--key web=4")
        #expect(clash.status == 64)
        #expect(clash.errors.contains("4 is the number of a socket that the command inherits (LISTEN_FDS=2)"))
    }

    @Test func aDescriptorThatIsInUseIsNotReplaced() throws {
        let script = "exec 7</dev/null; exec \"$0\" exec --socket \"$1\" --key web=7 -- true"
        let (status, _, errors) = try Program.run(
            "/bin/sh", ["-c", script, Program.built("keybroker"), fixture.daemon.socket])
        #expect(status == 64)
        #expect(errors.contains("the command inherits a descriptor 7 already"))
        // It was noticed before anything was asked for.
        #expect(try fixture.daemon.records().allSatisfy { $0["key"] == nil })
    }

    @Test func numbersThatCrossEachOther() throws {
        let given = try fixture.given(["--key", "web=4", "--certificate", "web=3", "--key", "bare=5"])
        #expect(given.content(4) == (try folder.text("web.key")))
        #expect(given.content(3) == (try folder.text("web.crt")))
        #expect(given.content(5) == (try folder.text("other.key")))
        let beyond = try fixture.run(["--key", "web=2000000000"], ["true"])
        #expect(beyond.status == 64)
        #expect(beyond.errors.contains("beyond the limit of open files"))
    }

    // MARK: The end

    @Test(
        arguments: [
            (["/bin/sh", "-c", "exit 7"], Int32(7)), (["/bin/sh", "-c", "kill -KILL $$"], -9), (["true"], 0),
            (["/nonexistent"], 127), (["no-such-command"], 127), (["/etc/passwd"], 126), (["/"], 126),
        ] as [([String], Int32)])
    func itEndsAsTheCommandEnds(_ command: [String], _ status: Int32) throws {
        #expect(try fixture.run(["--key", "web"], command).status == status)
    }

    @Test(
        arguments: [
            (["--key", "forbidden"], ["true"], Int32(77), "key 'forbidden': not permitted"),
            ([], ["true", "{print}"], 77, "if no key is meant there, write {{print}}"),
            (["--bundle", "bare"], ["true"], 69, "the policy names no certificate for it"),
            (["--bundle", "mixed"], ["true"], 65, "the key and its certificate do not belong together"),
            (["--nonsense"], ["true"], 64, "unknown option '--nonsense'"),
            (
                ["--socket", "/nonexistent/broker.sock"], ["true", "{web}"], 69, "no broker at /nonexistent/broker.sock"
            ),
        ] as [([String], [String], Int32, String)])
    func ownErrors(_ options: [String], _ command: [String], _ status: Int32, _ said: String) throws {
        let result = try fixture.run(options, command)
        #expect(result.status == status)
        #expect(result.errors.contains(said), "\(result.errors)")
    }

    @Test func emptyFilesAreErrors() throws {
        try folder.write("web.crt", "", mode: 0o644)
        let certificate = try fixture.run(["--certificate", "web"], ["true"])
        #expect(certificate.status == 66)
        #expect(certificate.errors.contains("the certificate file is empty"))
    }

    @Test func itHasItsHelp() throws {
        let help = try fixture.run(["--help"], [])
        #expect(help.status == 0, "\(help.errors)")
        for option in ["--key", "--certificate", "--bundle", "--env", "--wait", "--socket"] {
            #expect(help.output.contains("  \(option) "), "\(option)")
        }
    }
}
