// The packets between the daemon and the process that opens keys.
//
// Must never be longer than a path and a sentence about it.

internal import Kernel
internal import Wire

/// A question, `NUMBER PATH`, or its answer: `NUMBER PATH` with a descriptor, or `NUMBER KIND DESCRIPTION`.
struct OpenerPacket {
    let number: UInt64
    /// Why there is no descriptor. Nil in a question, and if there is one.
    let kind: TrustError.Kind?
    let text: String

    /// The longest packet, in bytes. A path has at most 4096.
    static let longest = 16_384
    /// Asks for the policy to be read again.
    static let policy = Array("policy".utf8)
    /// Tells that it was read.
    static let policyRead = Array("policy read".utf8)
    /// Tells that a file may have changed.
    static let changed = Array("changed".utf8)

    private static let kinds: [(word: String, kind: TrustError.Kind)] = [
        ("missing", .missing), ("unreadable", .unreadable), ("untrusted", .untrusted), ("shortage", .shortage),
        ("outside", .outside),
    ]

    init(number: UInt64, text: String, kind: TrustError.Kind? = nil) {
        (self.number, self.text, self.kind) = (number, text, kind)
    }

    /// Nil if the bytes are no such packet.
    init?(_ bytes: [UInt8]) {
        let words = String(decoding: bytes, as: UTF8.self).split(separator: " ", maxSplits: 1)
        guard words.count == 2, let number = decimal(words[0], as: UInt64.self) else { return nil }
        self.number = number
        for (word, kind) in Self.kinds where words[1].hasPrefix(word + " ") {
            (self.kind, text) = (kind, String(words[1].dropFirst(word.count + 1)))
            return
        }
        (kind, text) = (nil, String(words[1]))
    }

    var bytes: [UInt8] {
        let word = Self.kinds.first { $0.kind == kind }.map { $0.word + " " } ?? ""
        return Array("\(number) \(word)\(text)".utf8.prefix(Self.longest))
    }
}
