// Long output on a terminal goes through a pager, as with journalctl and git.
//
// Must never run what the environment names if the rights are another account's than the person's: whoever may only read
// the log as root must not get a shell of root by it.

internal import ArgumentParser
internal import Interaction
internal import Kernel

/// Whether output goes through a pager.
struct PagerOptions: ParsableArguments {
    @Flag(help: "Do not use a pager on a terminal.")
    var noPager = false

    /// Runs `body`, whose output is long. If standard output is a terminal, a pager shows it.
    func paged(_ body: () throws -> Void) throws {
        guard !noPager, StandardStream.output.isTerminal, let script = try Self.script() else { return try body() }
        let pipe: OutputPipe
        do throws(Failure) { pipe = try OutputPipe.into(script: script) } catch {
            throw fail("no pager can be started: \(error); see --no-pager", status: 71)
        }
        let result = Result { try body() }
        let status: Int32
        do throws(Failure) { status = try pipe.end() } catch { throw fail(error.description, status: 71) }
        if status == 126 || status == 127 {
            throw fail("the pager cannot be run; name another in KEYBROKER_PAGER, or use --no-pager", status: 71)
        }
        try result.get()
    }

    /// What less(1) does if the person does not say otherwise: it shows colours, leaves the screen as it is, and ends if
    /// all fits on one screen, or if it is interrupted.
    private static let less = "FRSXMK"

    /// What a shell runs. Nil if there is to be no pager.
    private static func script() throws(ExitCode) -> String? {
        if borrowedRights() { return secureScript }
        if let named = environment("KEYBROKER_PAGER") ?? environment("PAGER") {
            if named.isEmpty || named == "cat" { return nil }
            return "LESS=\"${LESS-\(less)}\"; export LESS\n\(named)"
        }
        return """
            LESS="${LESS-\(less)}"; export LESS
            for pager in less more; do command -v "$pager" >/dev/null && exec "$pager"; done
            exec cat
            """
    }

    /// A pager that runs no other program, opens no other file, and takes nothing from the environment but the terminal
    /// and the language.
    private static var secureScript: String? {
        let program = "/usr/bin/less"
        guard ((try? statusFollowing(program)) ?? nil)?.kind == .regular else { return nil }
        return "exec /usr/bin/env -i TERM=\"$TERM\" LANG=\"$LANG\" LC_ALL=\"$LC_ALL\" LESS=\(less) LESSSECURE=1 "
            + program
    }
}
