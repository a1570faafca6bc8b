// What all connections of a server share: key, certificates and the rules of the protocol.
//
// Must never come into being with a key that does not belong to the certificate, nor speak anything
// older than TLS 1.2.

internal import COpenSSL

/// The TLS side of a server (`SSL_CTX`). Connections that began with it keep it alive.
@safe package final class ServerContext {
    // Safety: the context belongs to this object; each connection counts a reference of its own.
    let pointer: OpaquePointer

    /// - Parameters:
    ///   - key: the private key; OpenSSL keeps a reference of its own.
    ///   - certificates: PEM text, the server's own certificate first, then its chain.
    package init(key: borrowing PrivateKey, certificates: Span<UInt8>) throws(LibraryFailure) {
        // Safety: a fresh context; nil for want of memory only.
        guard let context = unsafe SSL_CTX_new(TLS_server_method()) else { throw .now("no TLS context") }
        unsafe pointer = context
        // Safety: these set plain numbers in the context.
        guard unsafe kb_set_protocols(context, TLS1_2_VERSION) == 1 else { throw .now("TLS 1.2 is not available") }
        unsafe kb_set_mode(context)
        unsafe kb_set_options(context)
        // Safety: the callback keeps nothing; what it points `out` to lies in the client's own offer.
        unsafe SSL_CTX_set_alpn_select_cb(
            context,
            { _, out, outLength, offer, offerLength, _ in
                let isOffered = unsafe ServerContext.point(out, outLength, into: offer, length: offerLength)
                return isOffered ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK
            }, nil)
        try use(certificates)
        // Safety: the calls read the key and count a reference of their own.
        guard unsafe SSL_CTX_use_PrivateKey(context, key.pointer) == 1,
            unsafe SSL_CTX_check_private_key(context) == 1
        else { throw .now("the key does not belong to the certificate") }
    }

    // Safety: the last reference but those of connections, which keep their own.
    deinit { unsafe SSL_CTX_free(pointer) }

    /// Points `out` to "http/1.1" in the client's offer, a list of names with a length byte before each
    /// (RFC 7301, section 3.1). False where it is not offered.
    fileprivate static func point(
        _ out: UnsafeMutablePointer<UnsafePointer<UInt8>?>?, _ outLength: UnsafeMutablePointer<UInt8>?,
        into offer: UnsafePointer<UInt8>?, length: UInt32
    ) -> Bool {
        // Safety: OpenSSL passes its own valid pointers for the length of the callback.
        guard let out = unsafe out, let outLength = unsafe outLength, let offer = unsafe offer else {
            return false
        }
        let name = Array("http/1.1".utf8)
        var position = 0
        while position < Int(length) {
            // Safety: OpenSSL has checked the list's lengths before it asks; they are checked again here.
            let size = Int(unsafe offer[position])
            guard position + 1 + size <= Int(length) else { return false }
            // Safety: the range was just checked to lie in the offer.
            if size == name.count, (0..<size).allSatisfy({ unsafe offer[position + 1 + $0] == name[$0] }) {
                unsafe out.pointee = unsafe offer + position + 1
                unsafe outLength.pointee = UInt8(size)
                return true
            }
            position += 1 + size
        }
        return false
    }

    private func use(_ pem: Span<UInt8>) throws(LibraryFailure) {
        // Safety: the context is this object's; the BIO reads from the span and is freed before the span ends.
        let count = unsafe pem.withUnsafeBufferPointer { bytes -> Int in
            guard let bio = unsafe BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count)) else { return 0 }
            defer { unsafe BIO_free(bio) }
            var count = 0
            while let certificate = unsafe PEM_read_bio_X509(bio, nil, { _, _, _, _ in -1 }, nil) {
                // Safety: the first is counted by the context, each further one taken over by it.
                if count == 0 {
                    let isUsed = unsafe SSL_CTX_use_certificate(pointer, certificate) == 1
                    unsafe X509_free(certificate)
                    guard isUsed else { return 0 }
                } else if unsafe kb_add_to_chain(pointer, certificate) != 1 {
                    unsafe X509_free(certificate)
                    return 0
                }
                count += 1
            }
            return count
        }
        guard count > 0 else { throw .now("the certificate is not an X.509 certificate in PEM form") }
        // The end of the text is an error to the reader; it must not be taken for one of the next call.
        ERR_clear_error()
    }
}
