// Signals that are read from a file descriptor (signalfd), so that no code runs in a signal handler.
//
// Must never be set up after a thread was started: threads inherit the signal mask.

internal import CKernel
internal import Glibc

/// The signals that the daemon reacts to, read one at a time.
package struct Signals: ~Copyable {
    package enum Arrived: Equatable, Sendable {
        /// `SIGHUP`, and the sender as the kernel reports it (`ssi_uid`, `ssi_pid`).
        case reload(uid: UInt32, pid: Int32)
        /// `SIGTERM` or `SIGINT`.
        case stop
    }

    package let descriptor: Descriptor

    /// Blocks `SIGHUP`, `SIGTERM` and `SIGINT`, and opens a descriptor that reads them (`signalfd(2)`). Ignores
    /// `SIGPIPE` and `SIGXFSZ`: the system calls then return an error in their place.
    package init() throws(Failure) {
        var set = sigset_t()
        // Safety: the functions change the one set they are given.
        unsafe sigemptyset(&set)
        for number in [SIGHUP, SIGTERM, SIGINT] { unsafe sigaddset(&set, number) }
        // Safety: a null pointer means that the old set is not wanted; SIG_IGN is a constant of the library.
        guard unsafe sigprocmask(SIG_BLOCK, &set, nil) == 0 else { throw Failure("sigprocmask", code: errno) }
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)
        descriptor = Descriptor(
            taking: try retrying("signalfd") {
                unsafe signalfd(-1, &set, Int32(SFD_CLOEXEC | SFD_NONBLOCK))
            })
    }

    /// The next signal, or nil if none is pending.
    package borrowing func next() -> Arrived? {
        var info = signalfd_siginfo()
        let size = MemoryLayout<signalfd_siginfo>.size
        // Safety: read fills at most the one struct.
        guard unsafe read(descriptor.number, &info, size) == size else { return nil }
        return Int32(info.ssi_signo) == SIGHUP
            ? .reload(uid: info.ssi_uid, pid: Int32(bitPattern: info.ssi_pid)) : .stop
    }

    /// Ignores `SIGPIPE`, for a program that needs nothing else of this type.
    package static func ignoreBrokenPipes() {
        // Safety: SIG_IGN is a constant of the library.
        signal(SIGPIPE, SIG_IGN)
    }
}
