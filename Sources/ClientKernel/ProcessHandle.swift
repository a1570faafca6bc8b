// Another process, through a pidfd.
//
// Must never send a signal by pid: the kernel may have given the number to a new process.

internal import CKernel
internal import Glibc
package import Kernel

/// A process, held by its pidfd.
package struct ProcessHandle: ~Copyable {
    private let descriptor: Descriptor

    /// Calls `pidfd_open(2)`. The caller has to make sure afterwards that the pid is that of the right process.
    package init(pid: Int32) throws(Failure) {
        descriptor = try Descriptor.opened(ck_open_process(pid), by: "pidfd_open")
    }

    /// Whether the process still runs. Calls `poll(2)`.
    package var isRunning: Bool { ck_is_running(descriptor.withNumber { $0 }) == 1 }

    /// Passes the number of the pidfd, which becomes readable when the process has ended, to `body`.
    package borrowing func withNumber<R, E: Error>(_ body: (Int32) throws(E) -> R) throws(E) -> R {
        try descriptor.withNumber(body)
    }

    /// Calls `pidfd_send_signal(2)`.
    package borrowing func send(_ signal: Signal) throws(Failure) {
        _ = try succeed(ck_signal_process(descriptor.withNumber { $0 }, signal.number), "pidfd_send_signal")
    }

    /// Asks the process to reload its configuration (`SIGHUP`). Calls `pidfd_send_signal(2)`.
    package borrowing func hangUp() throws(Failure) {
        _ = try succeed(ck_signal_process(descriptor.withNumber { $0 }, SIGHUP), "pidfd_send_signal")
    }
}
