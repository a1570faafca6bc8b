// What a service manager gives and is told: inherited sockets (sd_listen_fds(3)) and the state of the
// service (sd_notify(3)), both plain protocols that need no library.
//
// Must never fail a start because nobody listens: without a service manager all of this is nothing.

internal import CKernel
internal import Glibc

/// The program's environment, unless it runs with more rights than its caller (`secure_getenv(3)`).
package func environment(_ name: String) -> String? {
    // Safety: the string belongs to the environment, which nobody changes, and is copied at once.
    unsafe ck_environment(name).map { unsafe String(cString: $0) }
}

/// The one who started the daemon, where that is one who wants to know.
package struct ServiceManager {
    private let address: String?
    /// How often a sign of life is wanted: half of `WATCHDOG_USEC`, as is advised, and at least once an hour.
    package let lifeSignInterval: Duration?

    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    package init() {
        address = environment("NOTIFY_SOCKET")
        let isOurs = environment("WATCHDOG_PID").map { $0 == String(getpid()) } ?? true
        lifeSignInterval = environment("WATCHDOG_USEC").flatMap { Int($0) }
            .flatMap { isOurs && $0 > 0 ? Duration.milliseconds(min(max(1, $0 / 2_000), 3_600_000)) : nil }
    }

    package func ready(_ status: String) { tell("READY=1\nSTATUS=\(status)") }
    /// `MONOTONIC_USEC` is what `Type=notify-reload` wants with it.
    package func reloading() { tell("RELOADING=1\nMONOTONIC_USEC=\(Instant.now.microseconds)") }
    package func stopping() { tell("STOPPING=1") }
    package func isAlive() { tell("WATCHDOG=1") }
    package func status(_ text: String) { tell("STATUS=\(text)") }

    private func tell(_ message: String) {
        guard let address else { return }
        let bytes = Array(message.utf8)
        // Safety: the call reads a C string and as many bytes as the array holds. Its failure is not ours
        // to mend: whoever wanted to know does not listen.
        unsafe _ = bytes.withUnsafeBytes { unsafe ck_notify(address, $0.baseAddress, $0.count) }
    }

    /// The sockets handed over to this process: nil where none were. The variables are taken out of the
    /// environment. More than one, or a malformed number, is a failure (`EINVAL`).
    package static func inheritedListener() throws(Failure) -> SeqpacketSocket? {
        defer {
            // Safety: no other thread reads or changes the environment.
            for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] { unsafe unsetenv(name) }
        }
        guard let count = environment("LISTEN_FDS"), environment("LISTEN_PID") == String(getpid()) else {
            return nil
        }
        guard count == "1" else { throw Failure("LISTEN_FDS", code: EINVAL, on: "(\(count) sockets; one is expected)") }
        // sd_listen_fds(3): they begin at 3, and are this process's to close.
        return try SeqpacketSocket.adopted(Descriptor(taking: 3))
    }
}
