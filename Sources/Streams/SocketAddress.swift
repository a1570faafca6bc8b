// Converts an address for the kernel: into a sockaddr of the right family.
//
// Must never be used on a text that `Address` did not check: this file relies on its lengths.

internal import Glibc

extension Address {
    /// Whether the host is a numeric address of its family. True for a path.
    var isNumeric: Bool {
        var room = in6_addr()
        switch self {
        // Safety: inet_pton writes at most an IPv6 address, which is the room there is.
        case .ip4(let host, _): return unsafe inet_pton(AF_INET, host, &room) == 1
        // Safety: as above.
        case .ip6(let host, _): return unsafe inet_pton(AF_INET6, host, &room) == 1
        case .unix: return true
        }
    }

    /// `AF_INET`, `AF_INET6` or `AF_UNIX`.
    var family: Int32 {
        switch self {
        case .ip4: AF_INET
        case .ip6: AF_INET6
        case .unix: AF_UNIX
        }
    }

    /// Calls `bind(2)`. Returns its errno, or 0.
    func bind(_ socket: Int32) -> Int32 {
        // Safety: bind reads no more than the size it is given.
        unsafe withSocketAddress { address, size in unsafe Glibc.bind(socket, address, size) }
    }

    /// Calls `connect(2)`. Returns its errno, or 0.
    func connect(_ socket: Int32) -> Int32 {
        // Safety: connect reads no more than the size it is given.
        unsafe withSocketAddress { address, size in unsafe Glibc.connect(socket, address, size) }
    }

    /// Calls `body` with the address. Returns the errno that it left, or 0.
    private func withSocketAddress(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        func pass<T>(_ value: T) -> Int32 {
            var value = value
            // Safety: the struct is as large as the size that is passed with it, and lives for the call.
            return unsafe withUnsafeBytes(of: &value) { bytes in
                guard let start = unsafe bytes.bindMemory(to: sockaddr.self).baseAddress else { return EINVAL }
                return unsafe body(start, socklen_t(bytes.count)) == 0 ? 0 : errno
            }
        }
        switch self {
        case .ip4(let host, let port):
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            // Safety: inet_pton fills the one member.
            unsafe _ = inet_pton(AF_INET, host, &address.sin_addr)
            return pass(address)
        case .ip6(let host, let port):
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            // Safety: inet_pton fills the one member.
            unsafe _ = inet_pton(AF_INET6, host, &address.sin6_addr)
            return pass(address)
        case .unix(let path):
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            // Safety: the path was checked to be shorter than the member, which is zero all over.
            unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
            return pass(address)
        }
    }

    /// The same address with the port that the kernel chose for a socket. Calls `getsockname(2)`.
    func withPort(of socket: Int32) -> Address {
        var address = sockaddr_in6()
        var size = socklen_t(MemoryLayout<sockaddr_in6>.size)
        // Safety: the call writes at most `size` bytes; the port stands at the same place in both families.
        let result = unsafe withUnsafeMutableBytes(of: &address) { bytes -> Int32 in
            guard let start = unsafe bytes.bindMemory(to: sockaddr.self).baseAddress else { return -1 }
            return unsafe getsockname(socket, start, &size)
        }
        guard result == 0 else { return self }
        let port = UInt16(bigEndian: address.sin6_port)
        switch self {
        case .ip4(let host, _): return .ip4(host, port: port)
        case .ip6(let host, _): return .ip6(host, port: port)
        case .unix: return self
        }
    }
}
