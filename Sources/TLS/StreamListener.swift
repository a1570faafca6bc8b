// A listening stream socket: TCP over IPv4 and IPv6, or Unix.
//
// Must never remove what is not a stale socket, or take the place of a server that lives.

internal import Glibc
package import Kernel

/// A non-blocking, close-on-exec listening socket.
package struct StreamListener: ~Copyable {
    package let descriptor: Descriptor
    /// Where it listens: the port is the real one where 0 was asked for.
    package let address: Address

    /// Why it cannot listen.
    package struct Refusal: Error, CustomStringConvertible {
        package let description: String
    }

    package init(_ wanted: Address) throws(Refusal) {
        if case .unix(let path) = wanted { try Self.removeStaleSocket(path) }
        let family =
            switch wanted {
            case .ip4: AF_INET
            case .ip6: AF_INET6
            case .unix: AF_UNIX
            }
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let number = socket(family, type, 0)
        guard number >= 0 else { throw Refusal("socket", wanted) }
        let descriptor = Descriptor(taking: number)
        var on: Int32 = 1
        if family != AF_UNIX {
            // Safety: the call reads the one number.
            unsafe _ = setsockopt(number, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        }
        if family == AF_INET6 {
            // Safety: as above. Without it the socket would take IPv4's connections too.
            unsafe _ = setsockopt(number, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &on, socklen_t(MemoryLayout<Int32>.size))
        }
        guard unsafe wanted.withSocketAddress({ address, size in unsafe bind(number, address, size) }) == 0 else {
            throw Refusal("bind", wanted)
        }
        guard listen(number, 128) == 0 else { throw Refusal("listen", wanted) }
        self.descriptor = descriptor
        address = wanted.withPort(of: number)
    }

    /// The next connection; nil where none waits.
    package borrowing func accept() throws(Failure) -> Descriptor? {
        try descriptor.acceptConnection()
    }

    /// Takes away the file of a Unix socket.
    package borrowing func removeSocket() {
        if case .unix(let path) = address { try? removeFile(path) }
    }

    private static func removeStaleSocket(_ path: String) throws(Refusal) {
        let status: FileStatus?
        do throws(Failure) { status = try statusWithoutFollowing(path) } catch {
            throw Refusal(description: "cannot listen on unix:\(path): \(error)")
        }
        guard let status else { return }
        guard status.kind == .socket else {
            throw Refusal(description: "cannot listen on unix:\(path): there is something that is not a socket")
        }
        let number = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard number >= 0 else { throw Refusal("socket", .unix(path)) }
        let probe = Descriptor(taking: number)
        // Safety: the address lives for the call.
        let isAnswered = unsafe Address.unix(path).withSocketAddress { address, size in
            probe.withNumber { number in unsafe connect(number, address, size) }
        }
        guard isAnswered != 0, errno == ECONNREFUSED else {
            throw Refusal(description: "cannot listen on unix:\(path): another program does, or it cannot be asked")
        }
        do throws(Failure) { try removeFile(path) } catch {
            throw Refusal(description: "cannot listen on unix:\(path): \(error)")
        }
    }
}

extension StreamListener.Refusal {
    fileprivate init(_ call: String, _ address: Address) {
        self.init(description: "cannot listen on \(address): \(Failure(call, code: errno))")
    }
}

extension Address {
    /// Whether the host is a number of its family.
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

    /// Lets `body` see the address as the kernel wants it.
    fileprivate func withSocketAddress(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        // Safety: each struct is as large as the size that is passed with it, and lives for the call.
        func pass<T>(_ value: T) -> Int32 {
            var value = value
            return unsafe withUnsafeBytes(of: &value) { bytes in
                guard let start = unsafe bytes.bindMemory(to: sockaddr.self).baseAddress else { return -1 }
                return unsafe body(start, socklen_t(bytes.count))
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

    /// The same with the port that the kernel chose for a socket.
    fileprivate func withPort(of number: Int32) -> Address {
        var address = sockaddr_in6()
        var size = socklen_t(MemoryLayout<sockaddr_in6>.size)
        // Safety: the call writes at most `size` bytes; the port stands at the same place in both families.
        let result = unsafe withUnsafeMutableBytes(of: &address) { bytes -> Int32 in
            guard let start = unsafe bytes.bindMemory(to: sockaddr.self).baseAddress else { return -1 }
            return unsafe getsockname(number, start, &size)
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
