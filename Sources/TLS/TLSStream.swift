// One TLS connection on a non-blocking socket.
//
// Must never block: a call that would says what to wait for. Every call begins with an empty error queue,
// or it would be blamed for what another connection left there.

internal import COpenSSL
internal import Glibc
package import Kernel

/// What came of a step.
package enum TLSStep: Equatable, Sendable {
    /// It is done; how many bytes, where it moved any.
    case done(Int)
    case wantsRead
    case wantsWrite
    /// The peer has ended the connection, or broken it.
    case closed
}

/// The server's end of a TLS connection (`SSL`), with its socket.
@safe package struct TLSStream: ~Copyable {
    // Safety: belongs to this value alone, from its making to its end.
    private let pointer: OpaquePointer
    package let socket: Descriptor
    /// After a fatal error there is nothing left to say to the peer (SSL_shutdown(3)).
    private var isBroken = false

    /// The server's end of a connection that was just accepted.
    package static func serving(
        _ socket: consuming Descriptor, context: ServerContext
    ) throws(LibraryFailure) -> TLSStream {
        ERR_clear_error()
        // Safety: a fresh object that counts its own reference of the context.
        guard let ssl = unsafe SSL_new(context.pointer) else {
            throw .now("OpenSSL has no memory for a TLS connection")
        }
        let stream = unsafe TLSStream(pointer: ssl, socket: socket)
        let isSet = stream.socket.withNumber { number in
            // Safety: the number is the socket's, which lives as long as the SSL object.
            unsafe SSL_set_fd(ssl, number) == 1
        }
        guard isSet else { throw .now("OpenSSL has no memory for a TLS connection") }
        // Safety: sets the object's role.
        unsafe SSL_set_accept_state(ssl)
        return stream
    }

    private init(pointer: OpaquePointer, socket: consuming Descriptor) {
        // Safety: handed over by the one who made it.
        unsafe self.pointer = pointer
        self.socket = socket
    }

    // Safety: nothing refers to it any more; the socket is closed after it.
    deinit { unsafe SSL_free(pointer) }

    /// Goes on with the handshake.
    package mutating func handshake() -> TLSStep {
        ERR_clear_error()
        // Safety: the object is ours.
        return step(unsafe SSL_do_handshake(pointer), 0)
    }

    /// Reads what has come, at most the buffer.
    package mutating func read(into buffer: inout [UInt8]) -> TLSStep {
        ERR_clear_error()
        var count = 0
        // Safety: the call writes at most as many bytes as the array holds.
        let result = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe SSL_read_ex(pointer, bytes.baseAddress, bytes.count, &count)
        }
        return step(result, count)
    }

    /// Writes what there is room for. What is left is to be given again, whole, when the step says so.
    package mutating func write(_ bytes: ArraySlice<UInt8>) -> TLSStep {
        ERR_clear_error()
        var count = 0
        // Safety: the call reads as many bytes as the slice holds.
        let result = unsafe bytes.withUnsafeBytes { bytes in
            unsafe SSL_write_ex(pointer, bytes.baseAddress, bytes.count, &count)
        }
        return step(result, count)
    }

    /// Says that nothing more will be sent (close_notify); does not wait for the peer to say so too.
    package mutating func sayGoodbye() -> TLSStep {
        guard !isBroken else { return .closed }
        ERR_clear_error()
        // Safety: the object is ours.
        let result = unsafe SSL_shutdown(pointer)
        // 0: ours is on its way, the peer's has not come. No more is wanted.
        return result >= 0 ? .done(0) : step(result, 0)
    }

    /// Tells the peer's kernel too that nothing more will be sent. Calls `shutdown(2)`.
    package borrowing func finishSending() {
        socket.withNumber { number in _ = shutdown(number, Int32(SHUT_WR)) }
    }

    /// Throws away what the peer still sends, unread. True where it has ended too. Without this, closing
    /// would reset the connection, and the peer might lose the response that it has not read yet.
    package borrowing func discardInput() -> Bool {
        var scrap = [UInt8](repeating: 0, count: 16 * 1024)
        let result = socket.withNumber { number in
            // Safety: recv writes at most as many bytes as the array holds.
            unsafe scrap.withUnsafeMutableBytes { bytes in
                unsafe recv(number, bytes.baseAddress, bytes.count, Int32(MSG_DONTWAIT))
            }
        }
        let code = errno
        return result == 0 || (result < 0 && code != EAGAIN && code != EINTR)
    }

    /// "TLSv1.3, TLS_AES_256_GCM_SHA384"
    package var cipher: String {
        // Safety: a static string of the library.
        let version = unsafe String(cString: SSL_get_version(pointer))
        // Safety: as above, or nil.
        let name = unsafe SSL_CIPHER_get_name(SSL_get_current_cipher(pointer)).map { unsafe String(cString: $0) }
        return "\(version), \(name ?? "no cipher")"
    }

    private mutating func step(_ result: Int32, _ count: Int) -> TLSStep {
        if result == 1 { return .done(count) }
        // Safety: asks the object about the call just made.
        switch unsafe SSL_get_error(pointer, result) {
        case SSL_ERROR_WANT_READ: return .wantsRead
        case SSL_ERROR_WANT_WRITE: return .wantsWrite
        // The peer said goodbye, and may still be answered.
        case SSL_ERROR_ZERO_RETURN: return .closed
        default:
            isBroken = true
            return .closed
        }
    }
}
