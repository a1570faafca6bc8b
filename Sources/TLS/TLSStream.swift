// One TLS connection on a non-blocking socket.
//
// Must never block: a call that would have to wait says for what. Every call first clears OpenSSL's error queue,
// because an error that another connection left there would be taken for its own.

internal import COpenSSL
internal import Glibc
package import PEM
package import Kernel

/// The result of a step.
package enum TLSStep: Equatable, Sendable {
    /// The step is done. The value is the number of bytes that it moved, or 0 if it moves none.
    case done(Int)
    case wantsRead
    case wantsWrite
    /// The peer has closed the connection, or it is broken.
    case closed
}

/// The server's end of a TLS connection (`SSL`), with its socket.
@safe package struct TLSStream: ~Copyable {
    // Safety: belongs to this value alone, from its making to its end.
    private let pointer: OpaquePointer
    /// It owns what a key that is lent needs.
    private let context: ServerContext
    package let socket: Descriptor
    /// True after a fatal error. Nothing may be sent to the peer then (SSL_shutdown(3)).
    private var isBroken = false
    /// Why the key did not sign this handshake, if that is how it failed and the key is lent.
    package private(set) var refusal: String?

    /// Makes the server's end of a connection that was just accepted.
    package static func serving(
        _ socket: consuming Descriptor, context: ServerContext
    ) throws(LibraryFailure) -> TLSStream {
        ERR_clear_error()
        // Safety: a fresh object that counts its own reference of the context.
        guard let ssl = unsafe SSL_new(context.pointer) else {
            throw .now("OpenSSL has no memory for a TLS connection")
        }
        let stream = unsafe TLSStream(pointer: ssl, socket: socket, context)
        let isSet = stream.socket.withNumber { number in
            // Safety: the number is the socket's, which lives as long as the SSL object.
            unsafe SSL_set_fd(ssl, number) == 1
        }
        guard isSet else { throw .now("OpenSSL has no memory for a TLS connection") }
        // Safety: sets the object's role.
        unsafe SSL_set_accept_state(ssl)
        return stream
    }

    private init(pointer: OpaquePointer, socket: consuming Descriptor, _ context: ServerContext) {
        // Safety: the caller hands the pointer over to this value.
        unsafe self.pointer = pointer
        self.socket = socket
        self.context = context
    }

    // Safety: nothing refers to it any more; the socket is closed after it.
    deinit { unsafe SSL_free(pointer) }

    /// Continues the handshake.
    package mutating func handshake() -> TLSStep {
        ERR_clear_error()
        // Safety: the object is ours.
        let step = step(unsafe SSL_do_handshake(pointer), 0)
        if isBroken { refusal = refusedSignature() }
        return step
    }

    /// Reads what has arrived, at most as much as the buffer holds.
    package mutating func read(into buffer: inout [UInt8]) -> TLSStep {
        ERR_clear_error()
        var count = 0
        // Safety: the call writes at most as many bytes as the array holds.
        let result = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe SSL_read_ex(pointer, bytes.baseAddress, bytes.count, &count)
        }
        return step(result, count)
    }

    /// Writes as much as there is room for. If the step says so, pass the whole rest again.
    package mutating func write(_ bytes: ArraySlice<UInt8>) -> TLSStep {
        ERR_clear_error()
        var count = 0
        // Safety: the call reads as many bytes as the slice holds.
        let result = unsafe bytes.withUnsafeBytes { bytes in
            unsafe SSL_write_ex(pointer, bytes.baseAddress, bytes.count, &count)
        }
        return step(result, count)
    }

    /// Tells the peer that nothing more will be sent (close_notify). Does not wait for the peer to say the same.
    package mutating func sayGoodbye() -> TLSStep {
        guard !isBroken else { return .closed }
        ERR_clear_error()
        // Safety: the object is ours.
        let result = unsafe SSL_shutdown(pointer)
        // 0 means: our close_notify is sent, the peer's has not arrived. That is enough.
        return result >= 0 ? .done(0) : step(result, 0)
    }

    /// Tells the peer's kernel as well that nothing more will be sent. Calls `shutdown(2)`.
    package borrowing func finishSending() {
        socket.withNumber { number in _ = shutdown(number, Int32(SHUT_WR)) }
    }

    /// Discards what the peer still sends. Returns true once the peer has ended too. If input were left unread, closing
    /// would reset the connection, and the peer might lose a response that it has not read yet.
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
        // The peer sent close_notify. It may still be answered.
        case SSL_ERROR_ZERO_RETURN: return .closed
        default:
            isBroken = true
            return .closed
        }
    }
}
