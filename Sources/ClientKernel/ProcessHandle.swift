// Another process, held so that a signal can never reach one that took over its number.

internal import CKernel
internal import Glibc
package import Kernel

/// A process by its pidfd.
package struct ProcessHandle: ~Copyable {
    private let descriptor: Descriptor

    /// Calls `pidfd_open(2)`. Who has the number is the caller's to make sure of, afterwards.
    package init(pid: Int32) throws(Failure) {
        descriptor = try Descriptor.opened(ck_open_process(pid), by: "pidfd_open")
    }

    /// Whether it has not ended. Calls `poll(2)`.
    package var isRunning: Bool { ck_is_running(descriptor.withNumber { $0 }) == 1 }

    /// Asks it to read its configuration anew (`SIGHUP`). Calls `pidfd_send_signal(2)`.
    package borrowing func hangUp() throws(Failure) {
        _ = try succeed(ck_signal_process(descriptor.withNumber { $0 }, SIGHUP), "pidfd_send_signal")
    }
}
