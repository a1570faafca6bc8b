// A program that a person uses for a while, and that this program waits for: an editor or a pager.
//
// Must never end before that program does: two programs would read from the same terminal. Must never take a program
// from the environment if the environment may be another account's: see `borrowedRights`.

internal import CKernel
internal import Glibc
package import Kernel

/// A program that was started with `/bin/sh`. It has the terminal.
package struct ForegroundProgram: ~Copyable {
    private let pid: pid_t

    /// Starts `/bin/sh -c SCRIPT sh ARGUMENT`. From now on, keys that interrupt the terminal's programs do not end this
    /// one. Calls `posix_spawn(3)`.
    package init(script: String, argument: String? = nil) throws(Failure) {
        self = try Self.start(script, argument, input: -1)
    }

    private init(pid: pid_t) { self.pid = pid }

    /// - Parameter input: the number of what becomes its standard input, or -1.
    fileprivate static func start(
        _ script: String, _ argument: String?, input: Int32
    ) throws(Failure) -> ForegroundProgram {
        signal(SIGINT, SIG_IGN)
        signal(SIGQUIT, SIG_IGN)
        // If it were ignored, as it may have been inherited, the end could not be waited for.
        signal(SIGCHLD, SIG_DFL)
        // Safety: the call reads NUL-terminated strings, and keeps neither.
        let result = unsafe ck_start_in_foreground(script, argument, input)
        return ForegroundProgram(pid: try succeed(result, "posix_spawn", on: "/bin/sh"))
    }

    /// Waits until it ends, and returns its exit status, or 128 and the number of the signal that ended it, as a shell
    /// does. Calls `waitpid(2)`.
    package consuming func wait() throws(Failure) -> Int32 {
        defer {
            signal(SIGINT, SIG_DFL)
            signal(SIGQUIT, SIG_DFL)
        }
        var status: Int32 = 0
        let pid = pid
        // Safety: the call fills the one number it is given.
        _ = try retrying("waitpid") { unsafe waitpid(pid, &status, 0) }
        let signal = status & 0x7F
        return signal != 0 ? 128 + signal : status >> 8 & 0xFF
    }
}

/// Where standard output goes instead, until `end`; and standard error too if it is a terminal, so that messages stand
/// where they belong.
package struct OutputPipe: ~Copyable {
    private let program: ForegroundProgram
    /// What standard error was, or -1 if it stayed.
    private let errors: Int32

    /// Starts a program, and makes this program's output its standard input. Calls `pipe(2)` and `dup2(2)`.
    package static func into(script: String) throws(Failure) -> OutputPipe {
        var ends: [Int32] = [-1, -1]
        // Safety: the call fills the two numbers of the array.
        _ = try retrying("pipe") { unsafe pipe(&ends) }
        let reading = Descriptor(taking: ends[0])
        let writing = Descriptor(taking: ends[1])
        for number in ends { _ = fcntl(number, F_SETFD, FD_CLOEXEC) }
        let errors = StandardStream.error.isTerminal ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3) : -1
        let program = try reading.withNumber { number throws(Failure) in
            try ForegroundProgram.start(script, nil, input: number)
        }
        writing.withNumber { number in
            _ = dup2(number, STDOUT_FILENO)
            if errors >= 0 { _ = dup2(number, STDERR_FILENO) }
        }
        return OutputPipe(program: program, errors: errors)
    }

    /// Tells the program that nothing more comes, and waits for its end. Returns its exit status. Nothing can be
    /// written to standard output any more.
    package consuming func end() throws(Failure) -> Int32 {
        // Safety: the call reads a NUL-terminated string.
        let null = unsafe open("/dev/null", O_WRONLY | O_CLOEXEC)
        if null >= 0 {
            _ = dup2(null, STDOUT_FILENO)
            _ = close(null)
        } else {
            _ = close(STDOUT_FILENO)
        }
        if errors >= 0 {
            _ = dup2(errors, STDERR_FILENO)
            _ = close(errors)
        }
        return try program.wait()
    }
}

/// Whether the process may have the rights of another account than the person who started it, as under sudo(8),
/// pkexec(1) or doas(1), so that the person's environment must not decide what runs with those rights. Reads
/// `/proc/self/loginuid`.
package func borrowedRights() -> Bool {
    if ["SUDO_UID", "PKEXEC_UID", "DOAS_USER"].contains(where: { environment($0) != nil }) { return true }
    guard let bytes = try? readSmallFile("/proc/self/loginuid", limit: 64),
        let login = UInt32(String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
    else { return false }
    return login != .max && login != geteuid()
}

/// Whether a person can be asked: standard input and standard error are a terminal.
package func canAsk() -> Bool { isatty(STDIN_FILENO) == 1 && StandardStream.error.isTerminal }
