// The key that the server uses: from the broker, inside OpenSSL, with what is known about it.
//
// Must never hold the key's bytes longer than OpenSSL needs to read them, nor write them anywhere.

internal import Kernel
internal import KeyBrokerClient
internal import Streams
internal import PEM
internal import TLS

/// A key that the broker handed over and that belongs to its certificate.
struct Identity {
    let context: ServerContext
    /// The number of the broker's decision.
    let decision: UInt64
    /// "RSA, 2048 bits"
    let kind: String
    /// SHA-256 of the public key, in hexadecimal digits.
    let fingerprint: String
    /// What became of a message that is no handshake, if the key is lent. Nil: this process has the key.
    let otherMessage: String?

    /// The largest certificate file, in bytes.
    private static let certificateLimit = 1 << 20

    /// A watch of the key, and the first content of it.
    static func watched(_ options: Options, waitingUpTo wait: Duration) throws(Exit) -> (Identity, WatchedKey) {
        let broker = KeyBroker(socketPath: options.brokerSocket)
        var watch = try asking(try broker.watch(options.key))
        let first = try asking(try watch.first(waitingUpTo: wait))
        return (try handed(first.key, options), WatchedKey(watch))
    }

    static func handed(_ handed: borrowing KeyDescriptor, _ options: Options) throws(Exit) -> Identity {
        let key = try key(in: handed)
        return Identity(
            context: try context(key, handed, options), decision: handed.decision, kind: key.kind,
            fingerprint: key.publicFingerprint, otherMessage: nil)
    }

    /// Reads the key. Its bytes are wiped from memory when this returns.
    private static func key(in handed: borrowing KeyDescriptor) throws(Exit) -> PrivateKey {
        let pem = try asking(try handed.readKey())
        return try using(handed.name, try pem.withBytes { bytes throws(LibraryFailure) in try PrivateKey(pem: bytes) })
    }

    private static func context(
        _ key: borrowing PrivateKey, _ handed: borrowing KeyDescriptor, _ options: Options
    ) throws(Exit) -> ServerContext {
        try context(of: handed.name, options, try handed.readCertificate()) { certificates throws(LibraryFailure) in
            try ServerContext(key: key, certificates: certificates)
        }
    }

    /// Serves with the certificates of the command line, or else with those of the broker.
    static func context(
        of name: String, _ options: Options,
        _ handedOver: @autoclosure () throws(KeyBrokerError) -> SecretBytes?,
        _ make: (Span<UInt8>) throws(LibraryFailure) -> ServerContext
    ) throws(Exit) -> ServerContext {
        if let path = options.certificate {
            let bytes = try certificate(at: path)
            return try using(name, try make(bytes.span))
        }
        let certificate = try asking(try handedOver())
        guard let certificate else {
            throw Exit(
                status: Exit.unusable,
                description: "key '\(name)': the policy names no certificate for it; name one there "
                    + "(key \(name) PATH certificate PATH) or with --certificate PATH")
        }
        return try using(name, try certificate.withBytes(make))
    }

    private static func certificate(at path: String) throws(Exit) -> [UInt8] {
        do { return try PlainFile.contents(path, limit: certificateLimit) } catch {
            throw Exit(
                status: Exit.unusable,
                description: "the certificate cannot be read: \(error); see what --certificate names")
        }
    }

    static func asking<R: ~Copyable>(_ body: @autoclosure () throws(KeyBrokerError) -> R) throws(Exit) -> R {
        do { return try body() } catch { throw Exit(status: error.exitStatus, description: error.description) }
    }

    static func using<R: ~Copyable>(
        _ name: String, _ body: @autoclosure () throws(LibraryFailure) -> R
    ) throws(Exit) -> R {
        do { return try body() } catch {
            throw Exit(status: Exit.unusable, description: "key '\(name)': \(error)")
        }
    }
}
