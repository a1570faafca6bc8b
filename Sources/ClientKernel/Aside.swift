// A process that stays beside the program that takes this one's place.
//
// Must never be noticed by that program: it is no child of it, unless orphans become that program's children, and holds
// nothing that was meant for it. Must never be ended by a signal that was meant for it.

internal import CKernel
internal import Glibc
package import Kernel

/// A process of its own, and the commands that it runs.
package struct Aside {
    /// The signals that are blocked in the commands: those that were blocked before.
    private let mask: sigset_t

    /// Makes the process. Returns nil in the process that was there before, which has no child by this, unless orphans
    /// become its children (process 1, `PR_SET_CHILD_SUBREAPER`). No other thread may run. Calls `fork(2)` and `setsid(2)`.
    ///
    /// The new process lets go of all that it inherited, but for standard error, and all signals are blocked in it.
    /// - Parameter title: what `ps` shows.
    package static func begin(titled title: String) throws(Failure) -> Aside? {
        guard try succeed(ck_fork_aside(), "fork") == 1 else { return nil }
        // Safety: the call reads a NUL-terminated string, and no other thread reads the arguments.
        unsafe ck_show_as(title)
        var all = sigset_t()
        var mask = sigset_t()
        // Safety: the functions change the sets that they are given; SIG_DFL is a constant of the library.
        unsafe sigfillset(&all)
        unsafe sigprocmask(SIG_SETMASK, &all, &mask)
        // The ends of commands are waited for.
        signal(SIGCHLD, SIG_DFL)
        _ = try succeed(ck_leave_streams(), "dup2")
        for name in try directoryEntries("/proc/self/fd") {
            guard let number = Int32(name), number > 2, Execution.isPassedOn(number) else { continue }
            close(number)
        }
        return Aside(mask: mask)
    }

    private init(mask: sigset_t) { self.mask = mask }

    /// Starts `/bin/sh -c COMMAND` in a process group of its own, with the environment of this process. Calls
    /// `posix_spawn(3)`.
    package func start(_ command: String) throws(Failure) -> RunningCommand {
        var mask = mask
        // Safety: the call reads a NUL-terminated string and the set.
        let pid = try unsafe succeed(ck_start_shell(command, &mask), "posix_spawn", on: "/bin/sh")
        return try RunningCommand(pid)
    }
}

/// A command that was started, as a child of this process.
package final class RunningCommand {
    private let pid: pid_t
    private let handle: ProcessHandle

    fileprivate init(_ pid: pid_t) throws(Failure) {
        self.pid = pid
        // The child cannot be another one yet: nobody has waited for it.
        do throws(Failure) { handle = try ProcessHandle(pid: pid) } catch {
            Glibc.kill(-pid, SIGKILL)
            _ = waitpid(pid, nil, 0)
            throw error
        }
    }

    /// Passes the number of a descriptor that becomes readable when the command has ended.
    package func withNumber<R, E: Error>(_ body: (Int32) throws(E) -> R) throws(E) -> R { try handle.withNumber(body) }

    /// How it ended, in words, or nil if it runs. "" means that it succeeded. Calls `waitpid(2)`.
    package func end() -> String? {
        var status: Int32 = 0
        // Safety: the call fills the one number it is given.
        let result = unsafe waitpid(pid, &status, WNOHANG)
        if result == 0 { return nil }
        guard result == pid else { return "its end was not seen" }
        let signal = status & 0x7F
        if signal != 0 { return "it was ended by signal \(signal)" }
        let code = status >> 8 & 0xFF
        return code == 0 ? "" : "it ended with status \(code)"
    }

    /// Ends the command and what it started in its process group. Calls `kill(2)`.
    package func kill() { Glibc.kill(-pid, SIGKILL) }
}

/// Waits until one of the descriptors is readable or the time has come, and returns which are. Nil is never readable.
/// Calls `poll(2)`.
package func waitUntilReadable(_ numbers: [Int32?], until end: Instant?) throws(Failure) -> [Bool] {
    var polled = numbers.map { pollfd(fd: $0 ?? -1, events: Int16(POLLIN), revents: 0) }
    while true {
        let milliseconds = end.map { Int32(clamping: Instant.now.until($0).wholeMilliseconds) } ?? -1
        let count = nfds_t(polled.count)
        // Safety: poll changes at most as many structs as the array holds.
        let result = unsafe poll(&polled, count, milliseconds)
        if result >= 0 { return polled.map { $0.revents != 0 } }
        let code = errno
        if code != EINTR { throw Failure("poll", code: code) }
    }
}
