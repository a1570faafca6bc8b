// Names of keys, as they are written in the policy, the packets and the log.
//
// Must never accept a character that could be taken for a part of a path, a space or the end of a line.

/// A valid key name: `[a-z0-9][a-z0-9._-]{0,62}`.
package struct KeyName: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let description: String

    /// The longest name in bytes.
    package static let longest = 63

    /// Nil if the bytes are not a key name.
    package init?(_ bytes: ArraySlice<UInt8>) {
        guard Self.accepts(bytes) else { return nil }
        self.init(checked: bytes)
    }

    /// A name that ``accepts(_:)`` has accepted.
    package init(checked bytes: ArraySlice<UInt8>) { description = String(decoding: bytes, as: UTF8.self) }

    /// Whether the bytes are a key name.
    package static func accepts(_ bytes: ArraySlice<UInt8>) -> Bool {
        guard let first = bytes.first, bytes.count <= longest, isAlphanumeric(first) else { return false }
        for byte in bytes where !mayAppear(byte) { return false }
        return true
    }

    package init?(_ text: String) { self.init(Array(text.utf8)[...]) }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || byte.isDigit
    }

    private static func mayAppear(_ byte: UInt8) -> Bool {
        isAlphanumeric(byte) || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
    }

    /// What is wrong with `text` as a key name, as a sentence for the person who wrote it. Nil if it is a key name.
    package static func fault(in text: ArraySlice<UInt8>) -> String? {
        if accepts(text) { return nil }
        if text.isEmpty { return "a key name is missing" }
        if text.count > longest { return "a key name has at most \(longest) characters, this one \(text.count)" }
        return "a key name is made of a-z, 0-9, '.', '_' and '-', and begins with a letter or a digit"
    }

    // Compares bytes. Lists of keys are in this order too.
    package static func < (left: KeyName, right: KeyName) -> Bool {
        left.description.utf8.lexicographicallyPrecedes(right.description.utf8)
    }
}
