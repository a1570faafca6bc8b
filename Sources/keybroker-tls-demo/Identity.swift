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

    /// The largest certificate file, in bytes.
    private static let certificateLimit = 1 << 20

    /// A watch of the key, and the first content of it.
    static func watched(_ options: Options, waitingUpTo wait: Duration) throws(Exit) -> (Identity, WatchedKey) {
        let broker = KeyBroker(socketPath: options.brokerSocket)
        var watch = try asking(try broker.watch(options.key))
        let first = try asking(try watch.first(waitingUpTo: wait))
        return (try Identity(first.key, options), WatchedKey(watch))
    }

    init(_ handed: borrowing KeyDescriptor, _ options: Options) throws(Exit) {
        let key = try Self.key(in: handed)
        context = try Self.context(key, handed, options)
        decision = handed.decision
        kind = key.kind
        fingerprint = key.publicFingerprint
    }

    /// Reads the key. Its bytes are wiped from memory when this returns.
    private static func key(in handed: borrowing KeyDescriptor) throws(Exit) -> PrivateKey {
        let pem = try asking(try handed.readKey())
        return try using(handed.name, try pem.withBytes { bytes throws(LibraryFailure) in try PrivateKey(pem: bytes) })
    }

    private static func context(
        _ key: borrowing PrivateKey, _ handed: borrowing KeyDescriptor, _ options: Options
    ) throws(Exit) -> ServerContext {
        if let path = options.certificate {
            let bytes = try certificate(at: path)
            return try using(handed.name, try ServerContext(key: key, certificates: bytes.span))
        }
        let certificate = try asking(try handed.readCertificate())
        guard let certificate else {
            throw Exit(
                status: Exit.unusable,
                description: "key '\(handed.name)': the policy names no certificate for it; name one there "
                    + "(key \(handed.name) PATH certificate PATH) or with --certificate PATH")
        }
        return try using(
            handed.name,
            try certificate.withBytes { bytes throws(LibraryFailure) in
                try ServerContext(key: key, certificates: bytes)
            })
    }

    private static func certificate(at path: String) throws(Exit) -> [UInt8] {
        do { return try PlainFile.contents(path, limit: certificateLimit) } catch {
            throw Exit(
                status: Exit.unusable,
                description: "the certificate cannot be read: \(error); see what --certificate names")
        }
    }

    private static func asking<R: ~Copyable>(_ body: @autoclosure () throws(KeyBrokerError) -> R) throws(Exit) -> R {
        do { return try body() } catch { throw Exit(status: error.exitStatus, description: error.description) }
    }

    private static func using<R: ~Copyable>(
        _ name: String, _ body: @autoclosure () throws(LibraryFailure) -> R
    ) throws(Exit) -> R {
        do { return try body() } catch {
            throw Exit(status: Exit.unusable, description: "key '\(name)': \(error)")
        }
    }
}
