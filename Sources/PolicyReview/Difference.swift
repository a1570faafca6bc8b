// Compares two policies by their meaning: who gains and who loses which key, or the status.
//
// Identities are compared as numbers, and unit patterns as the sets of names that they match. The text and the place of
// a line do not matter. Must never call two policies equal if any caller could notice a difference. Must never run
// without a limit: if a comparison would take too long, it counts as a change.

package import Policy
internal import Wire

/// A permission that only one of the two policies gives.
package struct PermissionChange: Equatable, Sendable {
    /// True if the new policy gives it, false if the old one did.
    package let isGain: Bool
    /// The line that gives the permission.
    package let rule: Rule
    /// A unit in which a caller would notice the change. Nil if every caller of that identity would, or if no unit was
    /// found.
    package let exampleUnit: String?
    /// False if there are too many unit patterns to decide whether any caller would notice.
    package let isCertain: Bool
}

/// The changes from `old` to `new` by key and identity, losses first. If there are none, every caller gets the same
/// verdict on every key. If every caller gets the same verdict, the only changes are uncertain ones.
package func differences(from old: Policy, to new: Policy) -> [PermissionChange] {
    var changes: [PermissionChange] = []
    var limits = SearchLimits()
    for name in Set(old.rules.keys).union(new.rules.keys).sorted() {
        let (before, after) = (old.effectiveRules(for: name), new.effectiveRules(for: name))
        changes += given(by: before, butNotBy: after, isGain: false, within: &limits)
        changes += given(by: after, butNotBy: before, isGain: true, within: &limits)
    }
    return changes
}

/// A permission to ask for the status that only one of the two policies gives.
package struct StatusChange: Equatable, Sendable {
    package let isGain: Bool
    package let permit: StatusPermit
    /// False if there are too many unit patterns to decide whether any caller would notice.
    package let isCertain: Bool
}

/// The changes from `old` to `new` in who may ask for the status, losses first.
package func statusDifferences(from old: Policy, to new: Policy) -> [StatusChange] {
    var limits = SearchLimits()
    return status(of: old, butNotOf: new, isGain: false, within: &limits)
        + status(of: new, butNotOf: old, isGain: true, within: &limits)
}

private func status(
    of policy: Policy, butNotOf other: Policy, isGain: Bool, within limits: inout SearchLimits
) -> [StatusChange] {
    let others = Set(other.statusPermits.map(\.identity))
    let units = others.compactMap(\.unit)
    var changes: [StatusChange] = []
    for permit in policy.statusPermits where !others.contains(permit.identity) && policy.isNoticed(permit) {
        let found = permit.identity.unit.map { unit(of: [$0], butOfNone: units, within: &limits) }
        if found == UnitFound.none { continue }
        changes.append(StatusChange(isGain: isGain, permit: permit, isCertain: found != .untold))
    }
    return changes
}

extension Policy {
    /// The rules for a key that permit it to somebody.
    fileprivate func effectiveRules(for name: KeyName) -> [Rule] {
        (rules[name] ?? []).filter { !isNobody($0.identity) }
    }

    /// Whether anybody may ask for the status by this line. Root may ask in any case.
    fileprivate func isNoticed(_ permit: StatusPermit) -> Bool {
        permit.identity != .user(0) && !isNobody(permit.identity)
    }
}

/// The rules of one key that permit something that none of the other policy's rules permits.
private func given(
    by rules: [Rule], butNotBy others: [Rule], isGain: Bool, within limits: inout SearchLimits
) -> [PermissionChange] {
    let othersOf = Dictionary(grouping: others, by: \.identity)
    // A line about a unit also permits every user and group that runs in it.
    let wholeUnits = others.compactMap { rule -> UnitPattern? in
        if case .unit(let pattern) = rule.identity { pattern } else { nil }
    }
    var seen: [Identity: Set<UnitPattern?>] = [:]
    var given: [PermissionChange] = []
    for rule in rules {
        // Each change is listed once.
        guard seen[rule.identity, default: []].insert(rule.unit).inserted else { continue }
        let others = othersOf[rule.identity] ?? []
        // A line without a unit also permits callers whose unit is unknown. So it covers every other line, and only
        // another line without a unit covers it.
        if others.contains(where: { $0.unit == nil }) { continue }
        guard let pattern = rule.namedUnit else {
            given.append(PermissionChange(isGain: isGain, rule: rule, exampleUnit: nil, isCertain: true))
            continue
        }
        switch unit(of: [pattern], butOfNone: others.compactMap(\.unit) + wholeUnits, within: &limits) {
        case .named(let unit):
            given.append(PermissionChange(isGain: isGain, rule: rule, exampleUnit: unit, isCertain: true))
        case .untold: given.append(PermissionChange(isGain: isGain, rule: rule, exampleUnit: nil, isCertain: false))
        case .none: break
        }
    }
    return given
}
