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
    /// Nil if nobody wants to be told.
    private let notifier: Notifier?
    /// How often the watchdog must hear from the daemon: half of `WATCHDOG_USEC`, as sd_watchdog_enabled(3) advises,
    /// and at least once an hour. Nil if there is no watchdog.
    package let lifeSignInterval: Duration?

    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    package init() { self.init(environment, process: getpid()) }

    /// - Parameters:
    ///   - variable: the value of a variable. Only tests give another environment.
    ///   - process: the pid of this process.
    package init(_ variable: (String) -> String?, process: Int32) {
        notifier = variable("NOTIFY_SOCKET").flatMap { try? Notifier(to: $0) }
        let isOurs = variable("WATCHDOG_PID").map { $0 == String(process) } ?? true
        lifeSignInterval = variable("WATCHDOG_USEC").flatMap { Int($0) }
            .flatMap { isOurs && $0 > 0 ? Duration.milliseconds(min(max(1, $0 / 2_000), 3_600_000)) : nil }
    }

    /// From now on messages are sent in a thread. Does nothing if nobody wants to be told.
    /// - Parameter confine: what the thread does first. If it fails, so does this.
    package func beginThread(
        confinedBy confine: @escaping @Sendable () throws(Failure) -> Void
    ) throws(Failure) { try notifier?.beginThread(confinedBy: confine) }

    package func ready(_ status: String) { tell(.ready, "READY=1\nSTATUS=\(status)") }
    /// `Type=notify-reload` requires `MONOTONIC_USEC`.
    package func reloading() { tell(.reloading, "RELOADING=1\nMONOTONIC_USEC=\(Instant.now.microseconds)") }
    package func stopping() { tell(.stopping, "STOPPING=1") }
    package func isAlive() { tell(.alive, "WATCHDOG=1") }
    package func status(_ text: String) { tell(.status, "STATUS=\(text)") }

    private func tell(_ kind: Notifications.Kind, _ text: String) { notifier?.tell(kind, text) }

    /// Waits until all is told, but not longer than until `deadline`.
    package func finish(until deadline: Instant) { notifier?.finish(until: deadline) }

    /// The sockets that the service manager passed to this process. Removes the variables from the environment. Fails
    /// with `EINVAL` if there are others, two of a kind, or a malformed number.
    package static func inheritedSockets() throws(Failure) -> InheritedSockets {
        defer {
            // Safety: no other thread reads or changes the environment.
            for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] { unsafe unsetenv(name) }
        }
        var sockets = InheritedSockets()
        guard let announced = try AnnouncedSockets(environment, process: getpid()) else { return sockets }
        // sd_listen_fds(3): the descriptors begin at 3, and this process has to close them.
        for index in 0..<announced.count {
            let descriptor = Descriptor(taking: 3 + Int32(index))
            guard CredentialSocket.isOne(descriptor) else {
                if sockets.hasBroker { throw Failure("LISTEN_FDS", code: EINVAL, on: "(two sockets for callers)") }
                sockets.broker = try SeqpacketSocket.adopted(descriptor)
                continue
            }
            try announced.expectCredential(at: index)
            if sockets.hasCredential { throw Failure("LISTEN_FDS", code: EINVAL, on: "(two sockets for credentials)") }
            sockets.credential = try CredentialSocket.adopted(descriptor)
        }
        return sockets
    }
}

/// The sockets that a service manager made before the daemon started.
package struct InheritedSockets: ~Copyable {
    /// The socket to which callers connect.
    package var broker: SeqpacketSocket?
    /// The socket to which the service manager itself connects.
    package var credential: CredentialSocket?

    package var hasBroker: Bool {
        switch broker {
        case .some: true
        case .none: false
        }
    }
    var hasCredential: Bool {
        switch credential {
        case .some: true
        case .none: false
        }
    }
}
