// The keys that are in use in one loop, each of them once, however many channels it has.
//
// Must never keep a key that no channel uses, nor the descriptor that it was read from.

internal import ClientKernel
internal import Kernel
internal import SigningKeys
internal import Wire

struct KeyTable {
    private final class Entry {
        let key: SigningKey
        var channels = 0

        init(_ key: SigningKey) { self.key = key }
    }

    /// By their public halves.
    private var entries: [[UInt8]: Entry] = [:]

    /// The key to use for one more channel, which has this one: an earlier one if it is the same.
    mutating func adopt(_ fresh: SigningKey) -> SigningKey {
        let entry = entries[fresh.publicKey] ?? Entry(fresh)
        entries[fresh.publicKey] = entry
        entry.channels += 1
        return entry.key
    }

    /// One channel less uses the key.
    mutating func giveBack(_ key: SigningKey) {
        guard let entry = entries[key.publicKey] else { return }
        entry.channels -= 1
        if entry.channels == 0 { entries.removeValue(forKey: key.publicKey) }
    }

    /// Reads the key in a file. Calls `pread(2)`.
    static func read(_ file: consuming Descriptor) throws(UnusableKey) -> sending SigningKey {
        let bytes: WipedMemory
        do throws(Failure) {
            guard try file.status().kind == .regular else { throw Failure("read", code: Failure.badData) }
            bytes = try WipedMemory.contents(of: file, limit: Limits.keyBytes)
        } catch { throw UnusableKey(description: "the private key cannot be read: \(error)") }
        return try bytes.withBytes { (pem) throws(UnusableKey) in try SigningKey(pem: pem) }
    }
}
