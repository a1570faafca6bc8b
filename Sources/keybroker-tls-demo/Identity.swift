// What the server serves with: the key from the broker, inside OpenSSL, and what the page says of it.
//
// Must never hold the key's bytes longer than OpenSSL takes to read them, nor write them anywhere.

internal import Kernel
internal import KeyBrokerClient
internal import TLS

/// A reason to end, or to keep the old key, with an exit status (sysexits.h).
struct Exit: Error {
    let status: Int32
    let description: String
}

/// A key that was handed over and belongs to its certificate.
struct Identity {
    let context: ServerContext
    /// The number of the broker's decision.
    let decision: UInt64
    /// "RSA, 2048 bits"
    let kind: String
    /// SHA-256 of the public key, in hexadecimal digits.
    let fingerprint: String

    /// Asks the broker.
    init(_ options: Options) throws(Exit) {
        let broker = KeyBroker(socketPath: options.brokerSocket)
        let handed = try Self.asking { () throws(KeyBrokerError) in
            try broker.key(options.key, waitingUpTo: .seconds(options.wait))
        }
        let pem = try Self.asking { () throws(KeyBrokerError) in try handed.readKey() }
        let key = try Self.using(options.key) { () throws(LibraryFailure) in
            try pem.withBytes { bytes throws(LibraryFailure) in try PrivateKey(pem: bytes) }
        }
        context = try Self.context(key, handed, options)
        decision = handed.decision
        kind = key.kind
        fingerprint = key.publicFingerprint
    }

    private static func context(
        _ key: borrowing PrivateKey, _ handed: borrowing KeyDescriptor, _ options: Options
    ) throws(Exit) -> ServerContext {
        if let path = options.certificate {
            let bytes = try certificate(at: path)
            return try using(options.key) { () throws(LibraryFailure) in
                try ServerContext(key: key, certificates: bytes.span)
            }
        }
        let certificate = try asking { () throws(KeyBrokerError) in try handed.readCertificate() }
        guard let certificate else {
            throw Exit(
                status: 78,
                description: "key '\(options.key)': the policy names no certificate for it; "
                    + "name it there (key \(options.key) PATH certificate PATH) or with --certificate PATH")
        }
        return try using(options.key) { () throws(LibraryFailure) in
            try certificate.withBytes { bytes throws(LibraryFailure) in
                try ServerContext(key: key, certificates: bytes)
            }
        }
    }

    private static func certificate(at path: String) throws(Exit) -> [UInt8] {
        do { return try readSmallFile(path, limit: 1 << 20) } catch {
            throw Exit(status: 78, description: "the certificate cannot be read: \(error)")
        }
    }

    private static func asking<R: ~Copyable>(_ body: () throws(KeyBrokerError) -> R) throws(Exit) -> R {
        do { return try body() } catch { throw Exit(status: error.exitStatus, description: error.description) }
    }

    private static func using<R: ~Copyable>(
        _ name: String, _ body: () throws(LibraryFailure) -> R
    ) throws(Exit) -> R {
        do { return try body() } catch { throw Exit(status: 78, description: "key '\(name)': \(error)") }
    }
}
