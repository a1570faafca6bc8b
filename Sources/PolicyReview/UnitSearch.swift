// Whether there is a unit that one pattern means and others do not: the search behind a comparison of policies.
//
// Must never say that there is none where there is one, nor take for ever: the number of sets grows with two to the
// power of the patterns, so that what takes too long is not told.

internal import Policy

/// What came of the search.
enum UnitFound: Equatable {
    /// The name of one.
    case named(String)
    case none
    /// It would have taken too long.
    case untold
}

/// How far a search goes: sets of places, and numbers of 64 places in all of them.
private let mostSets = 100_000
private let mostWords = 2_000_000

/// A unit that `pattern` matches and none of `others` does.
///
/// All patterns read the same name at once, a byte at a time (the subset construction, from the start and only as
/// far as it is reached); bytes that stand in no pattern are all alike.
func unit(of pattern: UnitPattern, butOfNone others: [UnitPattern]) -> UnitFound {
    let others = Array(Set(others))
    if others.contains(where: { $0.covers(pattern) }) { return .none }
    let machine = GlobMachines(pattern, widest(of: others))
    // A unit has a name before its ending, so the endings are read from the second byte on.
    var reached = machine.alphabet.compactMap { byte in
        machine.first(byte).map { Reached(places: $0, byte: byte, before: nil) }
    }
    var known = Set(reached.map(\.places))
    var next = 0
    while next < reached.count {
        let places = reached[next].places
        if machine.isFound(places) { return .named(name(reached, next)) }
        for byte in machine.alphabet {
            // What the pattern cannot match any more is of no interest.
            guard let places = machine.step(places, byte), known.insert(places).inserted else { continue }
            guard known.count <= mostSets, known.count * places.count <= mostWords else { return .untold }
            reached.append(Reached(places: places, byte: byte, before: next))
        }
        next += 1
    }
    return .none
}

/// Where a search has come to: the places where the patterns may be, and by which byte from where.
private struct Reached {
    let places: [UInt64]
    let byte: UInt8
    let before: Int?
}

private func name(_ reached: [Reached], _ last: Int) -> String {
    var bytes: [UInt8] = []
    var at: Int? = last
    while let index = at {
        bytes.append(reached[index].byte)
        at = reached[index].before
    }
    return String(decoding: bytes.reversed(), as: UTF8.self)
}

/// Those that no other covers. Of very many only some are looked at, as each is compared with each.
private func widest(of patterns: [UnitPattern]) -> [UnitPattern] {
    guard patterns.count <= 1000 else { return patterns }
    var widest: [UnitPattern] = []
    for pattern in patterns.sorted(by: { $0.description.utf8.count < $1.description.utf8.count })
    where !widest.contains(where: { $0.covers(pattern) }) {
        widest.removeAll { pattern.covers($0) }
        widest.append(pattern)
    }
    return widest
}

extension UnitPattern {
    /// Whether it matches all that `other` does, as far as that can be seen at once: its stars stand for the stars of the
    /// other, which nothing else of it matches.
    fileprivate func covers(_ other: UnitPattern) -> Bool { matches(other.description) }
}

/// Patterns as machines that read a name together. Their state is the set of places where they may be, a bit for each
/// place of each pattern, one after the other.
private struct GlobMachines {
    /// The bytes that make a difference, and one for all that no pattern names.
    let alphabet: [UInt8]
    private var start: [UInt64]
    /// The places of `pattern`; those that the endings begin at.
    private var ofPattern: [UInt64], endings: [UInt64]
    /// The last places: of the pattern, of the others, of the endings.
    private var accepting: [UInt64], refusing: [UInt64], ending: [UInt64]
    private var stars: [UInt64]
    private var literals: [UInt8: [UInt64]]

    init(_ pattern: UnitPattern, _ others: [UnitPattern]) {
        func places(_ text: String) -> [UInt8] {
            // Two stars are one.
            text.utf8.reduce(into: []) { bytes, byte in
                if byte != star || bytes.last != star { bytes.append(byte) }
            }
        }
        let patterns = [places(pattern.description)] + others.map { places($0.description) }
        let ends = ["*.service", "*.scope"].map(places)
        let texts = patterns + ends
        let words = (texts.reduce(0) { $0 + $1.count + 1 } + 63) / 64
        let none = [UInt64](repeating: 0, count: words)
        (start, ofPattern, endings, accepting, refusing, ending, stars) = (none, none, none, none, none, none, none)
        var bytes = Set(texts.joined()).subtracting([star])
        // There are more than sixty that a name may have.
        let plain = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_".utf8)
        if let other = plain.first(where: { !bytes.contains($0) }) { bytes.insert(other) }
        alphabet = bytes.sorted()
        literals = [:]
        for byte in alphabet { literals[byte] = none }
        var place = 0
        for (index, text) in texts.enumerated() {
            let isEnding = index >= patterns.count
            set(isEnding ? \.endings : \.start, place)
            for byte in text {
                if index == 0 { set(\.ofPattern, place) }
                if byte == star { set(\.stars, place) } else { literals[byte]?[place / 64] |= 1 << UInt64(place % 64) }
                place += 1
            }
            if index == 0 { set(\.ofPattern, place) }
            set(index == 0 ? \.accepting : isEnding ? \.ending : \.refusing, place)
            place += 1
        }
        close(&start)
        close(&endings)
    }

    private mutating func set(_ places: WritableKeyPath<GlobMachines, [UInt64]>, _ place: Int) {
        self[keyPath: places][place / 64] |= 1 << UInt64(place % 64)
    }

    /// After the first byte of a name; nil where the pattern does not begin so.
    func first(_ byte: UInt8) -> [UInt64]? {
        guard var places = step(start, byte) else { return nil }
        for word in places.indices { places[word] |= endings[word] }
        return places
    }

    /// After one more byte; nil where the pattern cannot match any more.
    func step(_ places: [UInt64], _ byte: UInt8) -> [UInt64]? {
        guard let literal = literals[byte] else { return nil }
        var next = places
        var carry: UInt64 = 0
        for word in places.indices {
            let passed = places[word] & literal[word]
            next[word] = (passed << 1 | carry) | (places[word] & stars[word])
            carry = passed >> 63
        }
        close(&next)
        return next.indices.contains { next[$0] & ofPattern[$0] != 0 } ? next : nil
    }

    /// A star may stand for nothing. No star follows another.
    private func close(_ places: inout [UInt64]) {
        var carry: UInt64 = 0
        for word in places.indices {
            let passed = places[word] & stars[word]
            places[word] |= passed << 1 | carry
            carry = passed >> 63
        }
    }

    /// Whether the name that was read is one of a unit that only the pattern matches.
    func isFound(_ places: [UInt64]) -> Bool {
        func has(_ wanted: [UInt64]) -> Bool { places.indices.contains { places[$0] & wanted[$0] != 0 } }
        return has(accepting) && !has(refusing) && has(ending)
    }
}

private let star = UInt8(ascii: "*")
