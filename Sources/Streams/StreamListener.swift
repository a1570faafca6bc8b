// A listening stream socket: TCP over IPv4 or IPv6, or a Unix socket.
//
// Must never remove a file unless it is a stale socket or its own socket. Must never take the place of a running
// server.

internal import Glibc
package import Kernel

/// A non-blocking, close-on-exec listening socket.
package struct StreamListener: ~Copyable {
    package let descriptor: Descriptor
    /// The address on which it listens. If port 0 was requested, this has the port that the kernel chose.
    package let address: Address
    /// The file that a Unix socket made, so that no other file is removed at the end.
    private let file: (device: UInt64, inode: UInt64)?

    /// The reason why it cannot listen.
    package struct Refusal: Error, CustomStringConvertible {
        package let description: String
        /// True if only this account is not permitted to; another one may be.
        package let isPermission: Bool
    }

    private static let backlog: Int32 = 128
    private static let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)

    /// Calls `socket(2)`, `bind(2)` and `listen(2)`.
    package init(_ wanted: Address) throws(Refusal) {
        if case .unix(let path) = wanted { try Self.removeStaleSocket(path) }
        let descriptor = try Self.newSocket(for: wanted)
        let code = descriptor.withNumber { number in
            Self.prepare(number, wanted)
            return wanted.bind(number)
        }
        guard code == 0 else { throw Refusal(Failure("bind", code: code), wanted) }
        let file = try Self.file(of: wanted)
        let listening = descriptor.withNumber { number in listen(number, Self.backlog) == 0 ? 0 : errno }
        guard listening == 0 else { throw Refusal(Failure("listen", code: listening), wanted) }
        address = descriptor.withNumber { number in wanted.withPort(of: number) }
        self.file = file
        self.descriptor = descriptor
    }

    /// Accepts the next connection, or returns nil if none is waiting.
    package borrowing func accept() throws(Failure) -> Descriptor? {
        try descriptor.acceptConnection()
    }

    /// Removes the file of a Unix socket if it is still the one that this listener made.
    package borrowing func removeSocket() throws(Failure) {
        guard case .unix(let path) = address, let file, let status = try statusWithoutFollowing(path) else { return }
        guard status.kind == .socket, (status.device, status.inode) == file else { return }
        try removeFile(path)
    }

    private static func file(of address: Address) throws(Refusal) -> (device: UInt64, inode: UInt64)? {
        guard case .unix(let path) = address else { return nil }
        do throws(Failure) {
            return try statusWithoutFollowing(path).map { ($0.device, $0.inode) }
        } catch { throw Refusal(error, address) }
    }

    private static func newSocket(for address: Address) throws(Refusal) -> Descriptor {
        let number = socket(address.family, type, 0)
        let code = errno
        guard number >= 0 else { throw Refusal(Failure("socket", code: code), address) }
        return Descriptor(taking: number)
    }

    private static func prepare(_ socket: Int32, _ address: Address) {
        func turnOn(_ level: Int32, _ option: Int32) {
            var on: Int32 = 1
            // Safety: the call reads the one number.
            unsafe _ = setsockopt(socket, level, option, &on, socklen_t(MemoryLayout<Int32>.size))
        }
        guard address.family != AF_UNIX else { return }
        // A restart does not have to wait until the kernel has forgotten old connections.
        turnOn(SOL_SOCKET, SO_REUSEADDR)
        // Accepted sockets inherit this option: without it, answers to pipelined requests would wait for each other.
        turnOn(Int32(IPPROTO_TCP), TCP_NODELAY)
        // Without this option the IPv6 socket would take IPv4 connections as well.
        if address.family == AF_INET6 { turnOn(Int32(IPPROTO_IPV6), IPV6_V6ONLY) }
    }

    /// Removes the socket file that a server left when it ended.
    private static func removeStaleSocket(_ path: String) throws(Refusal) {
        let address = Address.unix(path)
        let status: FileStatus?
        do throws(Failure) { status = try statusWithoutFollowing(path) } catch { throw Refusal(error, address) }
        guard let status else { return }
        guard status.kind == .socket else {
            throw Refusal(
                "there is something that is not a socket; remove it yourself, or name another path", address)
        }
        // The socket is non-blocking: a server that is too busy to accept is still a running server.
        let probe = try newSocket(for: address)
        let code = probe.withNumber { number in address.connect(number) }
        guard code == ECONNREFUSED else {
            throw Refusal(
                code == 0 || code == EAGAIN
                    ? "another program does already; stop it, or name another path"
                    : "whether another program listens there cannot be told: \(Failure("connect", code: code))",
                address)
        }
        do throws(Failure) { try removeFile(path) } catch { throw Refusal(error, address) }
    }
}

extension StreamListener.Refusal {
    fileprivate init(_ reason: String, _ address: Address) {
        self.init(description: "cannot listen on \(address): \(reason)", isPermission: false)
    }

    fileprivate init(_ failure: Failure, _ address: Address) {
        self.init(
            description: "cannot listen on \(address): \(failure)",
            isPermission: [Failure.permissionDenied, Failure.notPermitted].contains(failure.code))
    }
}
