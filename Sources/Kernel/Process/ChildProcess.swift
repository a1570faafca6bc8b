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
        var end: Int32 = -1
        // Safety: the call fills the one number it is given.
        let child = try unsafe succeed(ck_child(&end), "fork")
        if child == 0 { body() }
        return SeqpacketSocket(connected: Descriptor(taking: end))
    }

    /// The child's end of the pair. Call this once, in the child.
    package static func takeEnd() -> SeqpacketSocket { SeqpacketSocket(connected: Descriptor(taking: end)) }

    /// Sets the name that ps(1) shows, at most 15 bytes. Calls `prctl(2)`.
    package static func setName(_ name: StaticString) {
        // Safety: a static string ends with NUL and lives for ever.
        _ = unsafe ck_name_process(UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self))
    }

    /// Has the kernel forget the children that have ended. Calls `waitpid(2)`.
    package static func forgetEnded() {
        while waitpid(-1, nil, WNOHANG) > 0 {}
    }

    /// Ends the process at once.
    package static func end(_ status: Int32) -> Never { _exit(status) }
}
