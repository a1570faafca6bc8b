// The rest of a request for who has which content of a key (verb R).
//
// Must never accept two spellings of the same query.

/// Where to begin in the list of watching connections. The list is sorted by the names of keys, then by the numbers of
/// connections.
package struct RotationQuery: Equatable, Sendable, CustomStringConvertible {
    /// Nil: from the first key.
    package let key: KeyName?
    /// Only connections with a larger number are listed.
    package let after: UInt64

    /// All keys.
    package static let all = RotationQuery()

    private init() { (key, after) = (nil, 0) }

    package init(_ key: KeyName, after: UInt64 = 0) { (self.key, self.after) = (key, after) }

    /// Decodes nothing, `NAME`, or `NAME NUMBER`.
    init?(_ bytes: ArraySlice<UInt8>) {
        if bytes.isEmpty {
            self = .all
            return
        }
        let parts = bytes.split(separator: UInt8(ascii: " "), maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let key = KeyName(first) else { return nil }
        guard parts.count == 2 else {
            self.init(key)
            return
        }
        // It begins with no zero, and so is none.
        guard parts[1].first != UInt8(ascii: "0"),
            let after = decimal(String(decoding: parts[1], as: UTF8.self), as: UInt64.self)
        else { return nil }
        self.init(key, after: after)
    }

    package var description: String {
        guard let key else { return "" }
        return after > 0 ? "\(key) \(after)" : key.description
    }
}
