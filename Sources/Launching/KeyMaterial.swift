// The bytes of a key, or of the pointer in its place, and of its certificate, once they were checked to be a pair.
//
// Must never let a key through with the certificate of another. Must never keep the bytes in memory that is not wiped.

internal import ClientKernel
internal import Kernel
internal import KeyBrokerClient
internal import PEM
internal import Wire

/// The bytes of a key, and of its certificate if that is needed.
struct KeyMaterial: ~Copyable {
    private enum Key: ~Copyable {
        case handedOut(SecretBytes)
        /// The pointer file of a key that signs with the broker, and the public half of the key.
        case lent(pointer: [UInt8], publicKey: [UInt8])
    }

    private let key: Key
    private let certificate: SecretBytes?

    /// Reads what the files need, and checks it. A failure is passing if somebody may just be replacing the key.
    /// - Parameter note: told what could not be checked.
    static func read(
        _ handed: borrowing KeyDescriptor, for files: [KeyFile], noting note: (String) -> Void
    ) throws(LaunchFailure) -> KeyMaterial {
        let material = KeyMaterial(
            key: .handedOut(try reading(try handed.readKey())),
            certificate: files.contains(where: \.hasCertificate)
                ? try certificate(handed.name, try handed.readCertificate()) : nil)
        try material.check(handed.name, needsKey: files.contains(where: \.hasKey), note)
        return material
    }

    /// The same for a key that stays with the broker: a pointer stands in its place.
    static func pointer(
        to name: KeyName, _ signer: borrowing Signer, for files: [KeyFile], noting note: (String) -> Void
    ) throws(LaunchFailure) -> KeyMaterial {
        let material = KeyMaterial(
            key: .lent(pointer: Array(PointerFile(to: name).text.utf8), publicKey: signer.publicKey),
            certificate: files.contains(where: \.hasCertificate)
                ? try certificate(signer.name, try signer.readCertificate()) : nil)
        try material.check(signer.name, needsKey: files.contains(where: \.hasKey), note)
        return material
    }

    private static func certificate(
        _ name: String, _ certificate: @autoclosure () throws(KeyBrokerError) -> SecretBytes?
    ) throws(LaunchFailure) -> SecretBytes {
        guard let certificate = try reading(try certificate()) else {
            throw LaunchFailure(
                status: LaunchFailure.missing,
                "key '\(name)': the policy names no certificate for it (key \(name) PATH certificate PATH)")
        }
        return certificate
    }

    private static func reading<R: ~Copyable>(
        _ body: @autoclosure () throws(KeyBrokerError) -> R
    ) throws(LaunchFailure) -> R {
        do { return try body() } catch {
            // A file that cannot be read may be one that somebody is just writing.
            guard case .unusableFile = error else { throw LaunchFailure(error) }
            throw LaunchFailure(status: error.exitStatus, error.description, isPassing: true)
        }
    }

    private borrowing func check(
        _ name: String, needsKey: Bool, _ note: (String) -> Void
    ) throws(LaunchFailure) {
        if needsKey, hasEmptyKey { throw .empty("key '\(name)': the key file is empty") }
        switch certificate {
        case .none: return
        case .some(let certificate):
            if certificate.count == 0 { throw .empty("key '\(name)': the certificate file is empty") }
            if needsKey { try Self.checkPair(key, certificate, name, note) }
        }
    }

    private var hasEmptyKey: Bool {
        switch key {
        case .handedOut(let key): key.count == 0
        case .lent: false
        }
    }

    private static func checkPair(
        _ key: borrowing Key, _ certificate: borrowing SecretBytes, _ name: String, _ note: (String) -> Void
    ) throws(LaunchFailure) {
        let pair: Pair
        do throws(LibraryFailure) {
            pair = try certificate.withBytes { certificate throws(LibraryFailure) in
                switch key {
                case .handedOut(let key):
                    try key.withBytes { key throws(LibraryFailure) in try Pair(key: key, certificate: certificate) }
                case .lent(_, let publicKey): try Pair(publicKey: publicKey.span, certificate: certificate)
                }
            }
        } catch {
            throw LaunchFailure(status: LaunchFailure.unmatched, "key '\(name)': \(error)", isPassing: true)
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

    /// Writes what belongs into the file.
    borrowing func write(_ file: KeyFile, to memory: inout MemoryFile) throws(Failure) {
        if file.hasCertificate {
            switch certificate {
            case .some(let certificate):
                try certificate.withBytes { bytes throws(Failure) in
                    try memory.append(bytes)
                    // The key begins on a line of its own.
                    if file.hasKey, bytes[bytes.count - 1] != UInt8(ascii: "\n") {
                        try memory.append([UInt8(ascii: "\n")].span)
                    }
                }
            case .none: break
            }
        }
        guard file.hasKey else { return }
        switch key {
        case .handedOut(let key): try key.withBytes { bytes throws(Failure) in try memory.append(bytes) }
        case .lent(let pointer, _): try memory.append(pointer.span)
        }
    }
}
