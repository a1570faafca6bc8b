// A SOCK_STREAM Unix socket from which the service manager reads the credentials of units (LoadCredential=), and the
// connections to it.
//
// Must never block, or read anything: neither what the peer sends nor what the files contain. The kernel passes the bytes
// from the file to the socket.

internal import CKernel
internal import Glibc

/// A listening Unix socket of type `SOCK_STREAM`, non-blocking and close-on-exec.
package struct CredentialSocket: ~Copyable, Sendable {
    package let descriptor: Descriptor

    /// Binds a new socket to `path`. Nobody can connect before `listen()`. Calls `socket(2)` and `bind(2)`.
    package static func bound(to path: String) throws(Failure) -> CredentialSocket {
        let socket = try Descriptor.opened(ck_stream_socket(), by: "socket")
        _ = try succeed(PathCall.bind(socket.number)(path), "bind", on: path)
        return CredentialSocket(descriptor: socket)
    }

    /// Whether the descriptor is a listening socket of this type.
    static func isOne(_ descriptor: borrowing Descriptor) -> Bool { ck_is_stream_listener(descriptor.number) == 1 }

    /// Takes over a socket from the service manager.
    static func adopted(_ descriptor: consuming Descriptor) throws(Failure) -> CredentialSocket {
        _ = try succeed(ck_adopt(descriptor.number), "fcntl")
        return CredentialSocket(descriptor: descriptor)
    }

    /// Connects to `path` and leaves at once: it fails with `ECONNREFUSED` if nobody listens there. Calls `socket(2)` and `connect(2)`.
    package static func connect(to path: String) throws(Failure) {
        let socket = try Descriptor.opened(ck_stream_socket(), by: "socket")
        _ = try succeed(PathCall.connect(socket.number)(path), "connect", on: path)
    }

    /// Calls `listen(2)`.
    package borrowing func listen(backlog: Int) throws(Failure) {
        let number = descriptor.number
        _ = try retrying("listen") { Glibc.listen(number, Int32(clamping: backlog)) }
    }

    /// Refuses connections from now on, also those that wait. Calls `shutdown(2)`.
    package borrowing func listenNoMore() { _ = shutdown(descriptor.number, Int32(SHUT_RDWR)) }

    /// Makes the kernel refuse descriptors that peers send (`SO_PASSRIGHTS`, Linux 6.16). On older kernels they stay in
    /// a queue that nobody reads, and closing the connection closes them: that is for the ``Closer``.
    package borrowing func refuseDescriptors() { _ = ck_refuse_descriptors(descriptor.number) }

    /// The next connection, or nil if none waits. Calls `accept4(2)` and `getsockopt(SO_PEERCRED)`.
    package borrowing func accept() throws(Failure) -> CredentialConnection? {
        var name = [UInt8](repeating: 0, count: Int(ck_longest_socket_path) + 1)
        var length = 0
        let number = descriptor.number
        // Safety: the call writes at most as many bytes as the array holds, and one number.
        let result = unsafe name.withUnsafeMutableBufferPointer { name in
            unsafe ck_accept_named(number, name.baseAddress, name.count, &length)
        }
        switch -result {
        // As in `Descriptor.acceptConnection`: the connection failed meanwhile, and the listener is fine.
        case EAGAIN, EINTR, ECONNABORTED, EPROTO, ENETDOWN, EHOSTDOWN, EHOSTUNREACH, ENETUNREACH: return nil
        default: break
        }
        let accepted = try Descriptor.opened(result, by: "accept4")
        let credentials = try accepted.peerCredentials()
        return CredentialConnection(
            descriptor: accepted, credentials: credentials, peerName: Array(name.prefix(length)))
    }
}

/// A connection that was accepted. Nothing is ever read from it.
package struct CredentialConnection: ~Copyable, Sendable {
    package private(set) var descriptor: Descriptor
    package let credentials: PeerCredentials
    /// The name of the peer's socket, without the address family. An abstract name begins with a NUL. Empty if the
    /// socket has none.
    package let peerName: [UInt8]

    /// Ends it, which the peer sees now. Nothing may be sent on it any more. Calls `shutdown(2)`.
    /// - Parameter closer: closes it, as the peer may have sent descriptors. Without one it is closed here.
    package mutating func end(by closer: Closer?) {
        guard descriptor.number >= 0 else { return }
        _ = shutdown(descriptor.number, Int32(SHUT_RDWR))
        let ended = descriptor.take()
        closer?.close(ended, of: credentials.uid)
    }

    /// What `/proc` says of the peer. Nil if it is not certain that this process is the peer.
    package borrowing func peerProcess(_ pid: Int32) throws(Failure) -> (comm: String?, unit: String?)? {
        try descriptor.peerProcess(pid, units: nil)
    }

    /// Passes at most `count` bytes of the file to the peer, from `offset` on, and returns how many. 0 means that the
    /// file ends there. Fails with ``Failure/wouldBlock`` if the peer has not read enough. Calls `sendfile(2)`.
    package borrowing func send(_ file: borrowing Descriptor, at offset: Int, count: Int) throws(Failure) -> Int {
        let sent = ck_send_file(descriptor.number, file.number, Int64(offset), count)
        guard sent >= 0 else { throw Failure("sendfile", code: Int32(clamping: -sent)) }
        return Int(sent)
    }

    /// Sends a line feed. Calls `sendmsg(2)`.
    package borrowing func sendLineFeed() throws(Failure) {
        let bytes: [UInt8] = [0x0A]
        let number = descriptor.number
        // Safety: the call reads as many bytes as the array holds, and no descriptors.
        let result = unsafe bytes.withUnsafeBytes { bytes in
            unsafe ck_send(number, bytes.baseAddress, bytes.count, nil, 0)
        }
        _ = try succeed(result, "sendmsg")
    }
}
