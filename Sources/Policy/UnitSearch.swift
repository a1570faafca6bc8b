// Searches for a unit that some patterns match and all others do not. The comparison of policies needs it, and so do
// `never` lines.
//
// Must never say that there is no such unit if there is one. Must never run without a limit: the number of sets can
// grow with two to the power of the patterns, so the search gives up if it takes too long.

/// The result of the search.
package enum UnitFound: Equatable {
    /// The name of such a unit.
    case named(String)
    case none
    /// Not known, because the search would have taken too long.
    case untold
}

/// The limits of the searches of one comparison, or of one policy. Many searches that give up must not add up to hours,
/// nor must the same one again and again: a line names a key after the other with the same patterns.
package struct SearchLimits {
    /// The number of sets of places in one search.
    fileprivate static let sets = 100_000
    /// The number of 64-bit words in all sets of one search, and the number that a search still gets if the others
    /// have used up the words of all.
    fileprivate static let words = 2_000_000, leastWords = 20_000
    /// The number of words that all searches together may still use.
    fileprivate var wordsLeft = 20_000_000
    /// What was searched for, and how many answers are kept at most.
    private var known: [Question: UnitFound] = [:]
    private static let mostKnown = 10_000

    fileprivate struct Question: Hashable {
        let patterns: Set<UnitPattern>, others: Set<UnitPattern>
    }

    package init() {}

    fileprivate var wordsOfNext: Int { max(min(Self.words, wordsLeft), Self.leastWords) }

    /// The answer to the question, from the search if it is not known.
    fileprivate mutating func answer(to question: Question, _ search: (inout SearchLimits) -> UnitFound) -> UnitFound {
        if let answer = known[question] { return answer }
        let answer = search(&self)
        if known.count < Self.mostKnown { known[question] = answer }
        return answer
    }
}

/// Searches for a unit that each of `patterns` matches and none of `others` does. There is at least one pattern.
package func unit(
    of patterns: [UnitPattern], butOfNone others: [UnitPattern], within limits: inout SearchLimits
) -> UnitFound {
    let question = SearchLimits.Question(patterns: Set(patterns), others: Set(others))
    let (patterns, others) = (Array(question.patterns), Array(question.others))
    if others.contains(where: { other in patterns.contains { other.covers($0) } }) { return .none }
    if let unit = plainUnit(of: patterns, butOfNone: others) { return .named(unit) }
    return limits.answer(to: question) { search(patterns, widest(of: others), within: &$0) }
}

/// All patterns read the same name at the same time, one byte after the other. This is the subset construction of
/// automata theory, made only for the sets that are reached. All bytes that occur in no pattern are treated as one.
private func search(
    _ patterns: [UnitPattern], _ others: [UnitPattern], within limits: inout SearchLimits
) -> UnitFound {
    let machine = GlobMachines(patterns, others)
    // A unit has at least one byte before its ending, so the endings are read from the second byte on.
    var reached = machine.alphabet.compactMap { byte in
        machine.first(byte).map { Reached(places: $0, byte: byte, before: nil) }
    }
    var known = Set(reached.map(\.places))
    let words = limits.wordsOfNext
    defer { limits.wordsLeft -= known.count * (reached.first?.places.count ?? 0) }
    var next = 0
    while next < reached.count {
        let places = reached[next].places
        if machine.isFound(places) { return .named(name(reached, next)) }
        for byte in machine.alphabet {
            // Skips names that one of the patterns cannot match any more.
            guard let places = machine.step(places, byte), known.insert(places).inserted else { continue }
            guard known.count <= SearchLimits.sets, known.count * places.count <= words else { return .untold }
            reached.append(Reached(places: places, byte: byte, before: next))
        }
        next += 1
    }
    return .none
}

/// Tries the two names that settle most questions without a search: each star of a pattern stands for nothing, or for a
/// byte that occurs in no pattern.
private func plainUnit(of patterns: [UnitPattern], butOfNone others: [UnitPattern]) -> String? {
    let used = Set((patterns + others).flatMap { Array($0.description.utf8) })
    for (pattern, filling) in patterns.flatMap({ pattern in
        [unusedByte(besides: used).map { [$0] } ?? [], []].map { (pattern, $0) }
    }) {
        let name = pattern.description.utf8.flatMap { $0 == star ? filling : [$0] }
        for ending in ["", ".service", ".scope"] {
            let unit = String(decoding: name, as: UTF8.self) + ending
            let isUnit = [".service", ".scope"].contains { unit.utf8.count > $0.utf8.count && unit.hasSuffix($0) }
            guard isUnit, patterns.allSatisfy({ $0.matches(unit) }), !others.contains(where: { $0.matches(unit) })
            else { continue }
            return unit
        }
    }
    return nil
}

/// A byte that a name can contain and that is not in `used`. A name can contain more than sixty different bytes.
private func unusedByte(besides used: Set<UInt8>) -> UInt8? {
    Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_".utf8).first { !used.contains($0) }
}

/// A state of the search: the places in the patterns, and the byte and the earlier state that led to it.
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

/// The patterns that no other one covers. If there are more than 1000, all are returned, because the comparison of all
/// pairs would take too long.
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
    /// Whether it certainly matches everything that `other` matches. It treats the stars of `other` as characters that
    /// only a star can match.
    fileprivate func covers(_ other: UnitPattern) -> Bool { matches(other.description) }
}

/// Patterns as automata that read the same name together. The state is the set of places where they may be, with one
/// bit for each place of each pattern.
private struct GlobMachines {
    /// The bytes that occur in a pattern, and one byte for all others.
    let alphabet: [UInt8]
    private var start: [UInt64]
    /// The places of each pattern that has to match, and the places where the endings begin.
    private var ofPattern: [[UInt64]], endings: [UInt64]
    /// The last places: of each pattern that has to match, of the others, and of the endings.
    private var accepting: [[UInt64]], refusing: [UInt64], ending: [UInt64]
    private var stars: [UInt64]
    private var literals: [UInt8: [UInt64]]

    init(_ wanted: [UnitPattern], _ others: [UnitPattern]) {
        func places(_ text: String) -> [UInt8] {
            // Two stars in a row mean the same as one.
            text.utf8.reduce(into: []) { bytes, byte in
                if byte != star || bytes.last != star { bytes.append(byte) }
            }
        }
        let patterns = (wanted + others).map { places($0.description) }
        let ends = ["*.service", "*.scope"].map(places)
        let texts = patterns + ends
        let words = (texts.reduce(0) { $0 + $1.count + 1 } + 63) / 64
        let none = [UInt64](repeating: 0, count: words)
        (start, endings, refusing, ending, stars) = (none, none, none, none, none)
        ofPattern = [[UInt64]](repeating: none, count: wanted.count)
        accepting = ofPattern
        var bytes = Set(texts.joined()).subtracting([star])
        if let other = unusedByte(besides: bytes) { bytes.insert(other) }
        alphabet = bytes.sorted()
        literals = [:]
        for byte in alphabet { literals[byte] = none }
        var place = 0
        for (index, text) in texts.enumerated() {
            let isEnding = index >= patterns.count
            set(isEnding ? \.endings : \.start, place)
            for byte in text {
                if index < wanted.count { set(\.ofPattern[index], place) }
                if byte == star { set(\.stars, place) } else { literals[byte]?[place / 64] |= 1 << UInt64(place % 64) }
                place += 1
            }
            if index < wanted.count { set(\.ofPattern[index], place) }
            set(index < wanted.count ? \.accepting[index] : isEnding ? \.ending : \.refusing, place)
            place += 1
        }
        close(&start)
        close(&endings)
    }

    private mutating func set(_ places: WritableKeyPath<GlobMachines, [UInt64]>, _ place: Int) {
        self[keyPath: places][place / 64] |= 1 << UInt64(place % 64)
    }

    /// The state after the first byte of a name. Nil if one of the patterns cannot begin with it.
    func first(_ byte: UInt8) -> [UInt64]? {
        guard var places = step(start, byte) else { return nil }
        for word in places.indices { places[word] |= endings[word] }
        return places
    }

    /// The state after one more byte. Nil if one of the patterns cannot match any more.
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
        return ofPattern.allSatisfy { places in next.indices.contains { next[$0] & places[$0] != 0 } } ? next : nil
    }

    /// Adds the place after each star, because a star can match nothing. There are never two stars in a row.
    private func close(_ places: inout [UInt64]) {
        var carry: UInt64 = 0
        for word in places.indices {
            let passed = places[word] & stars[word]
            places[word] |= passed << 1 | carry
            carry = passed >> 63
        }
    }

    /// Whether the name so far is that of a unit that all of the patterns match and no other does.
    func isFound(_ places: [UInt64]) -> Bool {
        func has(_ wanted: [UInt64]) -> Bool { places.indices.contains { places[$0] & wanted[$0] != 0 } }
        return accepting.allSatisfy(has) && !has(refusing) && has(ending)
    }
}

private let star = UInt8(ascii: "*")
