// The bytes of a key and of its certificate, once they were checked to be a pair.
//
// Must never let a key through with the certificate of another. Must never keep the bytes in memory that is not wiped.

internal import ClientKernel
internal import Kernel
internal import KeyBrokerClient
internal import PEM
internal import Wire

/// The bytes of a key, and of its certificate if that is needed.
struct KeyMaterial: ~Copyable {
    private let key: SecretBytes
    private let certificate: SecretBytes?

    /// Reads what the files need, and checks it. A failure is passing if somebody may just be replacing the key.
    /// - Parameter note: told what could not be checked.
    static func read(
        _ handed: borrowing KeyDescriptor, for files: [KeyFile], noting note: (String) -> Void
    ) throws(LaunchFailure) -> KeyMaterial {
        let material = KeyMaterial(
            key: try reading(try handed.readKey()),
            certificate: files.contains(where: \.hasCertificate) ? try certificate(handed) : nil)
        try material.check(handed.name, needsKey: files.contains(where: \.hasKey), note)
        return material
    }

    private static func certificate(_ handed: borrowing KeyDescriptor) throws(LaunchFailure) -> SecretBytes {
        let certificate = try reading(try handed.readCertificate())
        guard let certificate else {
            throw LaunchFailure(
                status: LaunchFailure.missing,
                "key '\(handed.name)': the policy names no certificate for it (key \(handed.name) PATH certificate PATH)"
            )
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
        if needsKey, key.count == 0 { throw .empty("key '\(name)': the key file is empty") }
        switch certificate {
        case .none: return
        case .some(let certificate):
            if certificate.count == 0 { throw .empty("key '\(name)': the certificate file is empty") }
            if needsKey { try Self.checkPair(key, certificate, name, note) }
        }
    }

    private static func checkPair(
        _ key: borrowing SecretBytes, _ certificate: borrowing SecretBytes, _ name: String, _ note: (String) -> Void
    ) throws(LaunchFailure) {
        let pair: Pair
        do throws(LibraryFailure) {
            pair = try key.withBytes { key throws(LibraryFailure) in
                try certificate.withBytes { certificate throws(LibraryFailure) in
                    try Pair(key: key, certificate: certificate)
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
        if file.hasKey { try key.withBytes { bytes throws(Failure) in try memory.append(bytes) } }
    }
}
