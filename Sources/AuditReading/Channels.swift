// What a log says of the signing channels of one caller and one key: for what they were permitted, and how often they
// were used.
//
// Must never overflow or count below zero, whatever numbers a log contains. Must never state a number of signatures that
// the log does not have.

package import Wire

extension Requests {
    /// The signing channels of requests that are alike.
    package struct Channels: Sendable {
        /// How many requests the policy permitted, by what the key was to sign. Without any use: the log does not say, as
        /// no channel was made.
        package private(set) var permitted: [SigningUses: Int] = [:]
        /// How many of them remain without the grants that were not delivered.
        private var used: [SigningUses: Int] = [:]
        /// What the log says of the channels that have ended.
        package private(set) var counts = ChannelCounts()
        /// How many of the channels that these records grant have their counts in the log.
        package private(set) var counted = 0

        /// For what channels were used.
        var usedFor: [SigningUses] { used.filter { $0.value > 0 }.map(\.key) }

        mutating func permit(_ uses: SigningUses, times: Int, isUse: Bool = true) {
            permitted[uses] = (permitted[uses] ?? 0).plus(times)
            if isUse { used[uses] = (used[uses] ?? 0).plus(times) }
        }

        /// A grant was not delivered.
        mutating func takeBack(_ uses: SigningUses) { used[uses] = max((used[uses] ?? 0) - 1, 0) }

        /// A channel has ended.
        /// - Parameter isKnown: whether these records have its grant.
        mutating func end(_ record: LoggedRecord, isKnown: Bool) {
            guard let signatures = record.number(.signatures) else { return }
            counts.add(
                ChannelCounts(
                    signatures: signatures, refused: record.number(.refused) ?? 0, clones: record.number(.clones) ?? 0))
            if isKnown { counted = counted.plus(1) }
        }
    }
}

extension Requests.Question {
    /// Whether it was a request for a signing channel.
    package var asksForSignatures: Bool { verb == "sign" }
}

extension LoggedRecord {
    /// Whether it says that a signing channel has ended. Such a record decides nothing, and corrects nothing.
    package var endsChannel: Bool { says(.event, Self.channel) }

    /// Whether it is about a signing channel.
    var isOfChannel: Bool { says(.verb, Self.sign) }

    /// For what the key signs on the channel. None if the record does not say it: no channel was made, or a later version
    /// knows more uses.
    var signingUses: SigningUses {
        guard let words = text(.uses)?.split(separator: " ") else {
            return says(.decision, Self.granted) ? .anything : []
        }
        let known = SigningUses.named.filter { words.contains($0.word[...]) }
        return known.count == words.count ? known.reduce(into: []) { $0.formUnion($1.use) } : []
    }

    private static let channel = Array("channel".utf8), sign = Array("sign".utf8), granted = Array("granted".utf8)
}

extension SigningUses {
    /// Any message, and so each use.
    static let everything = named.reduce(into: SigningUses.anything) { $0.formUnion($1.use) }

    /// What it permits, with each use by its own name.
    var spelledOut: SigningUses { contains(.anything) ? .everything : self }

    /// Whether who may sign this may sign all of that. If it is not known what, any permission does.
    func covers(_ wanted: SigningUses) -> Bool {
        !isEmpty && (contains(.anything) || isSuperset(of: wanted))
    }

    /// Whether some message may be of both. What is not known may be anything.
    func overlaps(_ other: SigningUses) -> Bool {
        contains(.anything) || other.contains(.anything) || other.isEmpty || !isDisjoint(with: other)
    }
}

extension ChannelCounts {
    /// Adds what another channel was used for.
    package mutating func add(_ other: ChannelCounts) {
        signatures = signatures.plus(other.signatures)
        refused = refused.plus(other.refused)
        clones = clones.plus(other.clones)
    }
}

extension UInt64 {
    /// The sum, or the largest number if the sum would overflow.
    fileprivate func plus(_ other: UInt64) -> UInt64 {
        let (sum, isOver) = addingReportingOverflow(other)
        return isOver ? .max : sum
    }
}
