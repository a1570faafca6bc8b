// The packets between the daemon and keybroker-signer.
//
// Must never carry a message, a signature or a key; the descriptor of a key comes beside them.

package import Wire

/// What the daemon tells the signer. Each signer has a generation, a number that is in no earlier one's packets: a new
/// signer must not obey what its predecessor was told.
package enum SignerOrder: Equatable, Sendable {
    /// Two descriptors come with it: the file of the key, and the end of the channel.
    case open(NewChannel, generation: UInt64)
    /// Ends a channel, whoever holds its other ends.
    case end(channel: UInt64, generation: UInt64)

    /// The longest packet, in bytes.
    package static let longest = 256

    /// Nil if the bytes are no such packet.
    package init?(_ bytes: ArraySlice<UInt8>) {
        let words = bytes.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        let numbers = words.dropFirst().compactMap { decimal(String(decoding: $0, as: UTF8.self), as: UInt64.self) }
        guard let kind = words.first, numbers.count == words.count - 1 else { return nil }
        switch (String(decoding: kind, as: UTF8.self), numbers.count) {
        case ("open", 5):
            guard let account = UInt32(exactly: numbers[2]), let rate = Int(exactly: numbers[3]),
                let uses = UInt8(exactly: numbers[4])
            else { return nil }
            self = .open(
                NewChannel(number: numbers[1], account: account, rate: rate, uses: SigningUses(rawValue: uses)),
                generation: numbers[0])
        case ("end", 2): self = .end(channel: numbers[1], generation: numbers[0])
        default: return nil
        }
    }

    package var bytes: [UInt8] {
        switch self {
        case .open(let channel, let generation):
            Array(
                "open \(generation) \(channel.number) \(channel.account) \(channel.rate) \(channel.uses.rawValue)".utf8)
        case .end(let channel, let generation): Array("end \(generation) \(channel)".utf8)
        }
    }
}

/// A channel that the signer is to serve.
package struct NewChannel: Equatable, Sendable {
    /// The daemon's number for it.
    package let number: UInt64
    /// Whose channel it is. All channels of an account have one turn together.
    package let account: UInt32
    /// Signatures per second; 0 means no limit.
    package let rate: Int
    package let uses: SigningUses

    package init(number: UInt64, account: UInt32, rate: Int, uses: SigningUses) {
        (self.number, self.account, self.rate, self.uses) = (number, account, rate, uses)
    }
}

/// What the signer tells the daemon.
package enum SignerReport: Equatable, Sendable {
    /// A signer begins. All channels of the one before have ended.
    case started(generation: UInt64)
    /// The key can be used, and the first packet is on its way to the client.
    case opened(channel: UInt64)
    /// The channel was not opened. The text contains nothing of the key.
    case unusable(channel: UInt64, reason: String)
    case ended(channel: UInt64, ChannelCounts)

    /// The longest packet, in bytes.
    package static let longest = 1024

    /// Nil if the bytes are no such packet. Texts must be printable ASCII, because they can reach a terminal.
    package init?(_ bytes: ArraySlice<UInt8>) {
        guard bytes.allSatisfy({ (0x20...0x7E).contains($0) }) else { return nil }
        let words = bytes.split(separator: UInt8(ascii: " "), maxSplits: 2, omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        guard words.count >= 2, let number = decimal(words[1], as: UInt64.self) else { return nil }
        switch (words[0], words.count) {
        case ("started", 2): self = .started(generation: number)
        case ("opened", 2): self = .opened(channel: number)
        case ("unusable", 3): self = .unusable(channel: number, reason: words[2])
        case ("ended", 3):
            let counts = words[2].split(separator: " ", omittingEmptySubsequences: false)
                .compactMap { decimal($0, as: UInt64.self) }
            guard counts.count == 3 else { return nil }
            self = .ended(
                channel: number, ChannelCounts(signatures: counts[0], refused: counts[1], clones: counts[2]))
        default: return nil
        }
    }

    package var bytes: [UInt8] {
        switch self {
        case .started(let generation): return Array("started \(generation)".utf8)
        case .opened(let channel): return Array("opened \(channel)".utf8)
        case .unusable(let channel, let reason):
            let text = reason.utf8.map { (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: "?") }
            return Array(("unusable \(channel) ".utf8 + text).prefix(Self.longest))
        case .ended(let channel, let counts):
            return Array("ended \(channel) \(counts.signatures) \(counts.refused) \(counts.clones)".utf8)
        }
    }
}
