// What changes from one policy to another, by meaning: who gains and who loses which key.
//
// Identities are compared as numbers, units as the sets of names that patterns stand for; how a line is
// written, and where, makes no difference. Must never call two policies alike that any caller could tell apart.

internal import Wire

/// A permission that one policy gives and the other does not.
package struct PermissionChange: Equatable, Sendable {
    /// The new policy gives it, or the old one did.
    package let isGain: Bool
    /// The line that gives it.
    package let rule: Rule
    /// A unit in which a caller would notice; nil where every caller of that identity does.
    package let exampleUnit: String?
}

/// The changes from `old` to `new`, by key and identity, losses first. Empty exactly where every caller gets
/// the same verdict on every key.
package func differences(from old: Policy, to new: Policy) -> [PermissionChange] {
    var changes: [PermissionChange] = []
    for name in Set(old.rules.keys).union(new.rules.keys).sorted() {
        let (before, after) = (old.rules[name] ?? [], new.rules[name] ?? [])
        changes += given(by: before, butNotBy: after).map { PermissionChange(isGain: false, rule: $0, exampleUnit: $1) }
        changes += given(by: after, butNotBy: before).map { PermissionChange(isGain: true, rule: $0, exampleUnit: $1) }
    }
    return changes
}

/// The rules of one key that give something that none of the others does.
private func given(by rules: [Rule], butNotBy others: [Rule]) -> [(Rule, String?)] {
    let othersOf = Dictionary(grouping: others, by: \.identity)
    var seen: [Identity: [UnitPattern?]] = [:]
    var given: [(Rule, String?)] = []
    for rule in rules {
        // The same thing is said once.
        if seen[rule.identity]?.contains(rule.unit) == true { continue }
        seen[rule.identity, default: []].append(rule.unit)
        let others = othersOf[rule.identity] ?? []
        // A line without a unit covers everything, and is covered by nothing else: it counts for callers whose
        // unit is not known, too.
        if others.contains(where: { $0.unit == nil }) { continue }
        guard let pattern = rule.unit else {
            given.append((rule, nil))
            continue
        }
        if let unit = unitName(of: pattern, butOfNone: others.compactMap(\.unit)) { given.append((rule, unit)) }
    }
    return given
}

/// The name of a unit that `pattern` matches and none of `others` does; nil where there is none.
///
/// All patterns read the same name at once, a byte at a time (the subset construction, from the start and only as
/// far as it is reached); bytes that stand in no pattern are all alike.
func unitName(of pattern: UnitPattern, butOfNone others: [UnitPattern]) -> String? {
    let ends = [".service", ".scope"].compactMap { UnitPattern(Array("*\($0)".utf8)) }
    let machines = ([pattern] + others + ends).map { GlobMachine($0) }
    var alphabet = Set(machines.flatMap(\.literals))
    // One byte for all that no pattern names. There are more than eighty that a name may have.
    let plain = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_".utf8)
    if let other = plain.first(where: { !alphabet.contains($0) }) { alphabet.insert(other) }

    struct Reached {
        let states: [[Int]]
        let name: [UInt8]
    }
    // A unit has a name before its ending, so the endings are read from the second byte on.
    let patterns = machines.count - ends.count
    var queue = alphabet.sorted().map { byte in
        let states = machines.enumerated().map { $0 < patterns ? $1.step($1.start, byte) : $1.start }
        return Reached(states: states, name: [byte])
    }
    var known = Set(queue.map(\.states))
    var next = 0
    while next < queue.count {
        let reached = queue[next]
        next += 1
        let accepts = zip(machines, reached.states).map { $0.accepts($1) }
        let isMatched = accepts[0] && !accepts[1..<patterns].contains(true)
        if isMatched, accepts[patterns...].contains(true) { return String(decoding: reached.name, as: UTF8.self) }
        for byte in alphabet.sorted() {
            let states = zip(machines, reached.states).map { $0.step($1, byte) }
            // What the pattern cannot match any more is of no interest.
            guard !states[0].isEmpty, known.insert(states).inserted else { continue }
            queue.append(Reached(states: states, name: reached.name + [byte]))
        }
    }
    return nil
}

/// A pattern as a machine that reads a name: its state is the set of places in the pattern where it may be.
private struct GlobMachine {
    private let bytes: [UInt8]

    init(_ pattern: UnitPattern) { bytes = Array(pattern.description.utf8) }

    var literals: [UInt8] { bytes.filter { $0 != UInt8(ascii: "*") } }

    var start: [Int] { closed([0]) }

    func step(_ state: [Int], _ byte: UInt8) -> [Int] {
        var next: Set<Int> = []
        for place in state where place < bytes.count {
            if bytes[place] == UInt8(ascii: "*") {
                next.insert(place)
            } else if bytes[place] == byte {
                next.insert(place + 1)
            }
        }
        return closed(next)
    }

    func accepts(_ state: [Int]) -> Bool { state.contains(bytes.count) }

    /// A star may stand for nothing.
    private func closed(_ places: Set<Int>) -> [Int] {
        var all = places
        for place in places {
            var place = place
            while place < bytes.count, bytes[place] == UInt8(ascii: "*") {
                place += 1
                all.insert(place)
            }
        }
        return all.sorted()
    }
}
