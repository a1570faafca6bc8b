// A key that the server never has: OpenSSL signs handshakes with it through the provider keybroker.so.
//
// Must never ask for the key itself.

internal import KeyBrokerClient
internal import PEM
internal import TLS

extension Identity {
    /// Asks for the right to sign twice: through the library, for the certificate and to see what else may be signed, and
    /// then through the provider, whose channel signs the handshakes.
    static func lent(_ options: Options, waitingUpTo wait: Duration) throws(Exit) -> Identity {
        var signer = try asking(
            try KeyBroker(socketPath: options.brokerSocket).signer(options.key, waitingUpTo: wait))
        let key = try using(options.key, try PublicKey(der: signer.publicKey))
        let lent = try using(
            options.key,
            try LentKey(options.key, provider: options.provider, socketPath: options.brokerSocket))
        return Identity(
            context: try context(lent, signer, options), decision: signer.decision, kind: key.kind,
            fingerprint: key.fingerprint, otherMessage: OtherMessage(&signer).description)
    }

    private static func context(
        _ key: LentKey, _ signer: borrowing Signer, _ options: Options
    ) throws(Exit) -> ServerContext {
        try context(of: options.key, options, try signer.readCertificate()) { certificates throws(LibraryFailure) in
            try ServerContext(key: key, certificates: certificates)
        }
    }
}

/// The result of an attempt to have something signed that is no handshake, as a page shows it.
private struct OtherMessage {
    let description: String

    init(_ signer: inout Signer) {
        guard let scheme = signer.schemes.first else {
            description = "nothing, the key has no way to sign"
            return
        }
        do throws(KeyBrokerError) {
            _ = try signer.sign("this is no handshake".utf8, scheme: scheme)
            description = "is signed as well; write 'for tls-server' in the policy"
        } catch {
            if case .messageDenied(_, _, let reason) = error {
                description = "refused: \(reason)"
            } else {
                description = error.description
            }
        }
    }
}
