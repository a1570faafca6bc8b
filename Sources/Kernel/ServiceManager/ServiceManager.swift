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
    private let socket: NotifySocket?
    /// How often the watchdog must hear from the daemon: half of `WATCHDOG_USEC`, as sd_watchdog_enabled(3) advises,
    /// and at least once an hour. Nil if there is no watchdog.
    package let lifeSignInterval: Duration?

    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    package init() { self.init(environment, process: getpid()) }

    /// - Parameters:
    ///   - variable: the value of a variable. Only tests give another environment.
    ///   - process: the pid of this process.
    package init(_ variable: (String) -> String?, process: Int32) {
        socket = variable("NOTIFY_SOCKET").flatMap { try? NotifySocket(to: $0) }
        let isOurs = variable("WATCHDOG_PID").map { $0 == String(process) } ?? true
        lifeSignInterval = variable("WATCHDOG_USEC").flatMap { Int($0) }
            .flatMap { isOurs && $0 > 0 ? Duration.milliseconds(min(max(1, $0 / 2_000), 3_600_000)) : nil }
    }

    package func ready(_ status: String) { tell("READY=1\nSTATUS=\(status)") }
    /// `Type=notify-reload` requires `MONOTONIC_USEC`.
    package func reloading() { tell("RELOADING=1\nMONOTONIC_USEC=\(Instant.now.microseconds)") }
    package func stopping() { tell("STOPPING=1") }
    package func isAlive() { tell("WATCHDOG=1") }
    package func status(_ text: String) { tell("STATUS=\(text)") }

    private func tell(_ message: String) {
        guard let socket else { return }
        let bytes = Array(message.utf8)
        let (number, address) = (socket.descriptor.number, socket.address)
        // Safety: the call reads a C string and as many bytes as the array holds. Its failure is ignored, because then
        // the service manager does not listen.
        unsafe _ = bytes.withUnsafeBytes { unsafe ck_notify(number, address, $0.baseAddress, $0.count) }
    }

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

/// A socket to tell the service manager on. It is made once: the daemon must be able to say that it is alive when there are
/// no descriptors left.
private final class NotifySocket: Sendable {
    let descriptor: Descriptor
    let address: String

    init(to address: String) throws(Failure) {
        descriptor = try Descriptor.opened(ck_datagram_socket(), by: "socket")
        self.address = address
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
