// Signals as something to read: signalfd, for the one thread there is.
//
// Must be set up before any thread starts, as threads inherit the mask. No code ever runs in a handler.

internal import CKernel
internal import Glibc

/// The signals that the daemon lives by, read one at a time.
package struct Signals: ~Copyable {
    package enum Arrived: Equatable, Sendable {
        /// `SIGHUP`, with who sent it: the kernel's word (`ssi_uid`, `ssi_pid`).
        case reload(uid: UInt32, pid: Int32)
        /// `SIGTERM` or `SIGINT`.
        case stop
    }

    package let descriptor: Descriptor

    /// Blocks `SIGHUP`, `SIGTERM` and `SIGINT` and opens a descriptor for them (`signalfd(2)`); ignores
    /// `SIGPIPE` and `SIGXFSZ`, whose errors the calls report themselves.
    package init() throws(Failure) {
        var set = sigset_t()
        // Safety: the functions change the one set they are given.
        unsafe sigemptyset(&set)
        for number in [SIGHUP, SIGTERM, SIGINT] { unsafe sigaddset(&set, number) }
        // Safety: a null old set means that it is not wanted; SIG_IGN is a constant of the library.
        guard unsafe sigprocmask(SIG_BLOCK, &set, nil) == 0 else { throw Failure("sigprocmask", code: errno) }
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)
        descriptor = Descriptor(
            taking: try retrying("signalfd") {
                unsafe signalfd(-1, &set, Int32(SFD_CLOEXEC | SFD_NONBLOCK))
            })
    }

    /// The next signal, or nil where none waits.
    package borrowing func next() -> Arrived? {
        var info = signalfd_siginfo()
        let size = MemoryLayout<signalfd_siginfo>.size
        // Safety: read fills at most the one struct.
        guard unsafe read(descriptor.number, &info, size) == size else { return nil }
        return Int32(info.ssi_signo) == SIGHUP
            ? .reload(uid: info.ssi_uid, pid: Int32(bitPattern: info.ssi_pid)) : .stop
    }

    /// Ignores `SIGPIPE`, for a program that has nothing else to do with signals.
    package static func ignoreBrokenPipes() {
        // Safety: SIG_IGN is a constant of the library.
        signal(SIGPIPE, SIG_IGN)
    }
}
