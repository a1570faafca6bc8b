// Talks to the service manager: inherited sockets (sd_listen_fds(3)) and the state of the service (sd_notify(3)). Both
// protocols are simple, so this needs no library.
//
// Must never fail a start because nobody listens. Without a service manager, messages are dropped.

internal import CKernel
internal import Glibc

/// A variable of the environment. Nil if it is not set, or if the program has more privileges than its caller
/// (`secure_getenv(3)`).
package func environment(_ name: String) -> String? {
    // Safety: the string belongs to the environment, which nobody changes, and is copied at once.
    unsafe ck_environment(name).map { unsafe String(cString: $0) }
}

/// The service manager that started the daemon, if there is one.
package struct ServiceManager {
    private let address: String?
    /// How often the watchdog must hear from the daemon: half of `WATCHDOG_USEC`, as sd_watchdog_enabled(3) advises,
    /// and at least once an hour. Nil if there is no watchdog.
    package let lifeSignInterval: Duration?

    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    package init() {
        address = environment("NOTIFY_SOCKET")
        let isOurs = environment("WATCHDOG_PID").map { $0 == String(getpid()) } ?? true
        lifeSignInterval = environment("WATCHDOG_USEC").flatMap { Int($0) }
            .flatMap { isOurs && $0 > 0 ? Duration.milliseconds(min(max(1, $0 / 2_000), 3_600_000)) : nil }
    }

    package func ready(_ status: String) { tell("READY=1\nSTATUS=\(status)") }
    /// `Type=notify-reload` requires `MONOTONIC_USEC`.
    package func reloading() { tell("RELOADING=1\nMONOTONIC_USEC=\(Instant.now.microseconds)") }
    package func stopping() { tell("STOPPING=1") }
    package func isAlive() { tell("WATCHDOG=1") }
    package func status(_ text: String) { tell("STATUS=\(text)") }

    private func tell(_ message: String) {
        guard let address else { return }
        let bytes = Array(message.utf8)
        // Safety: the call reads a C string and as many bytes as the array holds. Its failure is ignored, because then
        // the service manager does not listen.
        unsafe _ = bytes.withUnsafeBytes { unsafe ck_notify(address, $0.baseAddress, $0.count) }
    }

    /// The socket that the service manager passed to this process, or nil if there is none. Removes the variables from
    /// the environment. More than one socket, or a malformed number, fails with `EINVAL`.
    package static func inheritedListener() throws(Failure) -> SeqpacketSocket? {
        defer {
            // Safety: no other thread reads or changes the environment.
            for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] { unsafe unsetenv(name) }
        }
        guard let count = environment("LISTEN_FDS"), environment("LISTEN_PID") == String(getpid()) else {
            return nil
        }
        guard count == "1" else { throw Failure("LISTEN_FDS", code: EINVAL, on: "(\(count) sockets; one is expected)") }
        // sd_listen_fds(3): the descriptors begin at 3, and this process has to close them.
        return try SeqpacketSocket.adopted(Descriptor(taking: 3))
    }
}
