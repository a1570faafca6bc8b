// What all connections of a server share: the key, the certificates, and the protocol settings.
//
// Must never be made with a key that does not belong to the certificate. Must never accept a protocol older than TLS
// 1.2.

internal import COpenSSL
internal import Glibc
package import PEM

/// The TLS settings of a server (`SSL_CTX`). Connections that use it keep it alive.
@safe package final class ServerContext {
    // Safety: the context belongs to this object; each connection counts a reference of its own.
    let pointer: OpaquePointer
    /// Must live as long as the context, and so as its connections.
    private let lent: LentKey?

    /// - Parameters:
    ///   - key: the private key. OpenSSL keeps its own reference.
    ///   - certificates: PEM text: first the server's own certificate, then its chain.
    package convenience init(key: borrowing PrivateKey, certificates: Span<UInt8>) throws(LibraryFailure) {
        try self.init(lent: nil, certificates, oldest: TLS1_2_VERSION)
        // Safety: the caller has the key while this runs.
        try unsafe use(key.pointer)
    }

    /// - Parameters:
    ///   - key: a key that stays with the broker. As it may be lent for handshakes of TLS 1.3 alone, nothing older is spoken.
    ///   - certificates: as for a key that is here.
    package convenience init(key: LentKey, certificates: Span<UInt8>) throws(LibraryFailure) {
        try self.init(lent: key, certificates, oldest: TLS1_3_VERSION)
        // A session that is resumed needs no signature, so it could outlive the permission. Without tickets there is none.
        // Safety: sets a plain number in our own context.
        guard unsafe SSL_CTX_set_num_tickets(pointer, 0) == 1 else { throw .now("OpenSSL does not do without tickets") }
        // Safety: this object keeps the key.
        try unsafe use(key.pointer)
    }

    private init(lent: LentKey?, _ certificates: Span<UInt8>, oldest: Int32) throws(LibraryFailure) {
        ERR_clear_error()
        self.lent = lent
        // Safety: a new context, or nil if memory is short. Without a library context it is that of the process.
        guard let context = unsafe SSL_CTX_new_ex(lent?.library, nil, TLS_server_method()) else {
            throw .now("OpenSSL has no memory for a TLS context")
        }
        // Safety: this object owns the context from here on.
        unsafe pointer = context
        // Safety: this and the next two set plain numbers in the context.
        guard unsafe kb_set_protocols(context, oldest) == 1 else {
            throw .now("this OpenSSL does not speak TLS \(oldest == TLS1_3_VERSION ? "1.3" : "1.2")")
        }
        // Safety: as above.
        unsafe kb_set_mode(context)
        // Safety: as above.
        unsafe kb_set_options(context)
        // Safety: the callback keeps nothing and is a function, which lives for ever.
        unsafe SSL_CTX_set_alpn_select_cb(context, chooseProtocol, nil)
        try use(certificates)
    }

    // Safety: only connections may still use the context, and each has a reference of its own.
    deinit { unsafe SSL_CTX_free(pointer) }

    private func use(_ pem: Span<UInt8>) throws(LibraryFailure) {
        try PEMReader.over("the certificate", pem) { (reader) throws(LibraryFailure) in
            switch try Certificate.next(in: reader) {
            case .some(let leaf):
                // Safety: the context counts a reference of its own.
                guard unsafe SSL_CTX_use_certificate(pointer, leaf.pointer) == 1 else {
                    throw .now("the certificate cannot be used")
                }
            case .none:
                throw LibraryFailure(
                    "the certificate is not an X.509 certificate in PEM form (-----BEGIN CERTIFICATE-----); "
                        + "name a file with the server's certificate and then its chain")
            }
            while try addToChain(Certificate.next(in: reader)) {}
        }
    }

    /// Returns false if there was no certificate to add.
    private func addToChain(_ certificate: consuming Certificate?) throws(LibraryFailure) -> Bool {
        switch consume certificate {
        case .some(let certificate):
            // Safety: on success the context owns it.
            guard unsafe kb_add_to_chain(pointer, certificate.pointer) == 1 else {
                throw .now("a certificate of the chain cannot be used")
            }
            // Safety: the context owns the certificate now.
            unsafe _ = certificate.release()
            return true
        case .none: return false
        }
    }

    private func use(_ key: OpaquePointer) throws(LibraryFailure) {
        ERR_clear_error()
        // Safety: the context counts a reference of its own.
        let isUsed = unsafe SSL_CTX_use_PrivateKey(pointer, key) == 1
        // Safety: the call only compares.
        guard isUsed, unsafe SSL_CTX_check_private_key(pointer) == 1 else {
            throw .now(
                "the key does not belong to the certificate; "
                    + "see that both are of the same pair, and that the server's own certificate comes first")
        }
    }
}

/// OpenSSL's callback for ALPN: it chooses HTTP/1.1 if the client offers it, and else sends no answer.
private func chooseProtocol(
    _ ssl: OpaquePointer?, _ out: UnsafeMutablePointer<UnsafePointer<UInt8>?>?,
    _ outLength: UnsafeMutablePointer<UInt8>?, _ offer: UnsafePointer<UInt8>?, _ offerLength: UInt32,
    _ context: UnsafeMutableRawPointer?
) -> Int32 {
    let name: StaticString = "http/1.1"
    // Safety: OpenSSL passes its own valid pointers for the length of the callback.
    guard let out = unsafe out, let outLength = unsafe outLength, let offer = unsafe offer else {
        return SSL_TLSEXT_ERR_NOACK
    }
    // The offer is a list of names. Before each name stands one byte with its length (RFC 7301, section 3.1).
    var position = 0
    while position < Int(offerLength) {
        // Safety: the position was just checked to lie in the offer.
        let size = Int(unsafe offer[position])
        let start = position + 1
        guard start + size <= Int(offerLength) else { return SSL_TLSEXT_ERR_NOACK }
        // Safety: the range was just checked to lie in the offer, and is as long as the name.
        if size == name.utf8CodeUnitCount, unsafe memcmp(offer + start, name.utf8Start, size) == 0 {
            // Safety: OpenSSL takes the name from the client's offer, which outlives the callback.
            unsafe out.pointee = unsafe offer + start
            // Safety: OpenSSL's own byte for the length.
            unsafe outLength.pointee = UInt8(size)
            return SSL_TLSEXT_ERR_OK
        }
        position = start + size
    }
    return SSL_TLSEXT_ERR_NOACK
}
