// Gets keys and certificates from the broker, so that each pair is one.
//
// Must never give out a key with the certificate of another. Must never leave the bytes in memory that is not wiped.

internal import Kernel
internal import KeyBrokerClient
internal import PEM
internal import Wire

/// The bytes of a key, and of its certificate if that is needed.
struct KeyMaterial: ~Copyable {
    let key: SecretBytes
    let certificate: SecretBytes?
}

/// Gets the files of keys from the broker.
struct Fetching {
    let broker: KeyBroker
    /// No new attempt begins after this moment because the broker is away or busy, or a file is missing.
    private let deadline: Instant
    /// Told about what could not be checked, once for each key.
    private let note: (String) -> Void

    init(_ broker: KeyBroker, waitingUpTo wait: Duration, noting note: @escaping (String) -> Void) {
        self.broker = broker
        deadline = Instant.now.after(wait)
        self.note = note
    }

    /// Gets the key, and its certificate if a file of it is wanted. If they do not match, or one of them is empty or
    /// damaged, somebody may just be replacing them: they are asked for again for a short time.
    func material(of name: KeyName, for files: [KeyFile]) throws(LaunchFailure) -> KeyMaterial {
        let end = Instant.now.after(Limits.pairSettles)
        var interval = Limits.firstPairLook
        while true {
            let failure: LaunchFailure
            do throws(LaunchFailure) {
                let material = try self.read(name, withCertificate: files.contains(where: \.hasCertificate))
                try check(material, name, files)
                return material
            } catch {
                failure = error
            }
            guard failure.isPassing, Instant.now.after(interval) <= end else { throw failure }
            try Self.pause(interval)
            interval *= 2
        }
    }

    private func read(_ name: KeyName, withCertificate: Bool) throws(LaunchFailure) -> KeyMaterial {
        let handed = try granted(name)
        let key = try reading(name, try handed.readKey())
        guard withCertificate else { return KeyMaterial(key: key, certificate: nil) }
        let certificate = try reading(name, try handed.readCertificate())
        guard let certificate else {
            throw LaunchFailure(
                status: LaunchFailure.missing,
                "key '\(name)': the policy names no certificate for it (key \(name) PATH certificate PATH)")
        }
        return KeyMaterial(key: key, certificate: certificate)
    }

    /// Asks for the key, for as long as the caller is willing to wait.
    private func granted(_ name: KeyName) throws(LaunchFailure) -> KeyDescriptor {
        var interval = Limits.firstMissingLook
        while true {
            let rest = Instant.now.until(deadline)
            do { return try broker.key(name.description, waitingUpTo: rest) } catch {
                guard case .unavailable = error, Instant.now.after(interval) <= deadline else {
                    throw LaunchFailure(error)
                }
            }
            try Self.pause(interval)
            interval = min(interval * 2, Limits.lastMissingLook)
        }
    }

    /// A file that cannot be read may be one that somebody is just writing.
    private func reading<R: ~Copyable>(
        _ name: KeyName, _ body: @autoclosure () throws(KeyBrokerError) -> R
    ) throws(LaunchFailure) -> R {
        do { return try body() } catch {
            if case .unusableFile = error {
                throw LaunchFailure(status: error.exitStatus, error.description, isPassing: true)
            }
            throw LaunchFailure(error)
        }
    }

    private func check(
        _ material: borrowing KeyMaterial, _ name: KeyName, _ files: [KeyFile]
    ) throws(LaunchFailure) {
        let needsKey = files.contains(where: \.hasKey)
        if needsKey, material.key.count == 0 { throw .empty("key '\(name)': the key file is empty") }
        switch material.certificate {
        case .none: return
        case .some(let certificate):
            if certificate.count == 0 { throw .empty("key '\(name)': the certificate file is empty") }
            guard needsKey else { return }
            try checkPair(material.key, certificate, name)
        }
    }

    private func checkPair(
        _ key: borrowing SecretBytes, _ certificate: borrowing SecretBytes, _ name: KeyName
    ) throws(LaunchFailure) {
        let pair: Pair
        do throws(LibraryFailure) {
            pair = try key.withBytes { key throws(LibraryFailure) in
                try certificate.withBytes { certificate throws(LibraryFailure) in
                    try Pair(key: key, certificate: certificate)
                }
            }
        } catch {
            throw LaunchFailure(
                status: LaunchFailure.unmatched, "key '\(name)': \(error)", isPassing: true)
        }
        switch pair {
        case .belongsTogether: return
        case .cannotTell(let why):
            note("key '\(name)': \(why), so nobody checked that the key and its certificate belong together")
        case .differs(let key, let certificate):
            throw LaunchFailure(
                status: LaunchFailure.unmatched,
                "key '\(name)': the key and its certificate do not belong together: the SHA-256 of the key's public half "
                    + "is \(key), that of the certificate's is \(certificate); put both files of one pair in place, "
                    + "or correct the certificate of key \(name) in the policy", isPassing: true)
        }
    }

    private static func pause(_ interval: Duration) throws(LaunchFailure) {
        do throws(Failure) { _ = try Kernel.pause(until: Instant.now.after(interval)) } catch {
            throw LaunchFailure(status: LaunchFailure.system, "\(error)")
        }
    }
}
