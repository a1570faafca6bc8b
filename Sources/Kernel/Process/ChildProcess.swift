// A child process of the daemon, which does one thing for it and ends with it.
//
// Must never keep a descriptor of the parent, except its own end of the socket pair.

internal import CKernel
internal import Glibc

package enum ChildProcess {
    /// The number of the child's file descriptor for its end of the socket pair.
    private static let end: Int32 = 3

    /// Makes a child process, which runs `body` and nothing else, and returns the parent's end of a `SOCK_SEQPACKET` pair.
    /// Call this while the process has only one thread. The child closes all inherited descriptors at once. The kernel
    /// kills it when its parent ends. Calls `socketpair(2)` and `fork(2)`.
    package static func make(_ body: () -> Never) throws(Failure) -> SeqpacketSocket {
        var pid: Int32 = 0
        return try make(pid: &pid, body)
    }

    private static func make(pid: inout Int32, _ body: () -> Never) throws(Failure) -> SeqpacketSocket {
        var end: Int32 = -1
        // Safety: the call fills the one number it is given.
        pid = try unsafe succeed(ck_child(&end), "fork")
        if pid == 0 { body() }
        return SeqpacketSocket(connected: Descriptor(taking: end))
    }

    /// Makes a child process that executes a program with an empty environment, in the same way. The program has the end of
    /// the pair as descriptor 3 and `/dev/null` as its standard streams. If it cannot be executed, the pair is closed.
    /// - Parameters:
    ///   - path: absolute.
    ///   - first, second: its arguments. Without the first there is no second.
    ///   - pid: becomes the child's.
    package static func make(
        executing path: String, _ first: String?, _ second: String?, pid: inout Int32
    ) throws(Failure) -> SeqpacketSocket {
        guard !path.hasNUL else { throw Failure("execve", code: EINVAL, on: path) }
        // The strings are made before the fork: the child may not take memory if its parent had several threads.
        let (path, first, second) = (path.utf8CString, (first ?? "").utf8CString, (second ?? "").utf8CString)
        return try make(pid: &pid) {
            // Safety: the arrays end with NUL, and live until the call returns, if it does.
            _ = unsafe path.withUnsafeBufferPointer { path in
                unsafe first.withUnsafeBufferPointer { first in
                    unsafe second.withUnsafeBufferPointer { second in
                        unsafe ck_execute_program(path.baseAddress, first.baseAddress, second.baseAddress)
                    }
                }
            }
            _exit(127)
        }
    }

    /// Makes a child process that is a copy of this one and runs `body`, and waits until it has ended. Returns its exit
    /// status, or 128 and the number of the signal that ended it. Calls `fork(2)` and `waitpid(2)`.
    package static func run(_ body: () -> Never) throws(Failure) -> Int32 {
        let child = try succeed(ck_fork(), "fork")
        if child == 0 { body() }
        return try succeed(ck_wait(child), "waitpid")
    }

    /// Whether this process has such an end. Calls `getsockopt(2)`.
    package static var hasEnd: Bool { ck_is_seqpacket_end(end) == 1 }

    /// The child's end of the pair. Call this once, in the child.
    package static func takeEnd() -> SeqpacketSocket { SeqpacketSocket(connected: Descriptor(taking: end)) }

    /// Sets the name that ps(1) shows, at most 15 bytes. Calls `prctl(2)`.
    package static func setName(_ name: StaticString) {
        // Safety: a static string ends with NUL and lives for ever.
        _ = unsafe ck_name_process(UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self))
    }

    /// Has the kernel forget the children that have ended. Returns how many. Calls `waitpid(2)`.
    package static func forgetEnded() -> Int {
        var count = 0
        while waitpid(-1, nil, WNOHANG) > 0 { count += 1 }
        return count
    }

    /// Ends the process at once.
    package static func end(_ status: Int32) -> Never { _exit(status) }
}
