// What changes from one policy to another, by meaning: who gains and who loses which key.
//
// Identities are compared as numbers, units as the sets of names that patterns stand for; how a line is
// written, and where, makes no difference. Must never call two policies alike that any caller could tell apart, nor take
// for ever: what would take too long to tell is a change.

package import Policy
internal import Wire

/// A permission that one policy gives and the other does not.
package struct PermissionChange: Equatable, Sendable {
    /// The new policy gives it, or the old one did.
    package let isGain: Bool
    /// The line that gives it.
    package let rule: Rule
    /// A unit in which a caller would notice; nil where every caller of that identity does, or that is not told.
    package let exampleUnit: String?
    /// False where the patterns of units are too many to tell whether any caller would notice.
    package let isCertain: Bool
}

/// The changes from `old` to `new`, by key and identity, losses first. If it is empty, every caller gets the same verdict
/// on every key; if every caller does, it has at most changes that are not certain.
package func differences(from old: Policy, to new: Policy) -> [PermissionChange] {
    var changes: [PermissionChange] = []
    for name in Set(old.rules.keys).union(new.rules.keys).sorted() {
        let (before, after) = (old.rules[name] ?? [], new.rules[name] ?? [])
        changes += given(by: before, butNotBy: after, isGain: false)
        changes += given(by: after, butNotBy: before, isGain: true)
    }
    return changes
}

/// The rules of one key that give something that none of the others does.
private func given(by rules: [Rule], butNotBy others: [Rule], isGain: Bool) -> [PermissionChange] {
    let othersOf = Dictionary(grouping: others, by: \.identity)
    var seen: [Identity: Set<UnitPattern?>] = [:]
    var given: [PermissionChange] = []
    for rule in rules {
        // The same thing is said once.
        guard seen[rule.identity, default: []].insert(rule.unit).inserted else { continue }
        let others = othersOf[rule.identity] ?? []
        // A line without a unit covers everything, and is covered by nothing else: it counts for callers whose
        // unit is not known, too.
        if others.contains(where: { $0.unit == nil }) { continue }
        guard let pattern = rule.unit else {
            given.append(PermissionChange(isGain: isGain, rule: rule, exampleUnit: nil, isCertain: true))
            continue
        }
        switch unit(of: pattern, butOfNone: others.compactMap(\.unit)) {
        case .named(let unit):
            given.append(PermissionChange(isGain: isGain, rule: rule, exampleUnit: unit, isCertain: true))
        case .untold: given.append(PermissionChange(isGain: isGain, rule: rule, exampleUnit: nil, isCertain: false))
        case .none: break
        }
    }
    return given
}
