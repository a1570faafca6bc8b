// Compares two policies by their meaning: who gains and who loses which key, or the status; and which keys have other files.
//
// Identities are compared as numbers, and unit patterns as the sets of names that they match. The text and the place of
// a line do not matter. Must never call two policies equal if any caller could notice a difference. Must never run
// without a limit: if a comparison would take too long, it counts as a change.

package import Policy
package import Wire

/// A permission that only one of the two policies gives.
package struct PermissionChange: Equatable, Sendable {
    /// True if the new policy gives it, false if the old one did.
    package let isGain: Bool
    /// The line that gives the permission.
    package let rule: Rule
    /// For which signatures only one of the policies gives it. Nil if it is about the key itself.
    package let uses: SigningUses?
    /// A unit in which a caller would notice the change. Nil if every caller of that identity would, or if no unit was
    /// found.
    package let exampleUnit: String?
    /// False if there are too many unit patterns to decide whether any caller would notice.
    package let isCertain: Bool
}

/// The changes from `old` to `new` by key and identity, losses first, and those in who may sign after all others. If
/// there are none, every caller gets the same verdict on every key. If every caller gets the same verdict, the only
/// changes are uncertain ones.
package func differences(from old: Policy, to new: Policy) -> [PermissionChange] {
    var changes: [PermissionChange] = []
    var limits = SearchLimits()
    for right in Right.allCases {
        for name in Set(old.rules(right).keys).union(new.rules(right).keys).sorted() {
            let (before, after) = (old.effectiveRules(right, for: name), new.effectiveRules(right, for: name))
            changes += given(right, by: before, butNotBy: after, isGain: false, within: &limits)
            changes += given(right, by: after, butNotBy: before, isGain: true, within: &limits)
        }
    }
    return changes
}

/// Signatures are compared for each use by itself. A rule that gives several of them is listed once.
private func given(
    _ right: Right, by rules: [Rule], butNotBy others: [Rule], isGain: Bool, within limits: inout SearchLimits
) -> [PermissionChange] {
    guard right == .sign else {
        return given(by: rules, butNotBy: others, isGain: isGain, for: nil, within: &limits)
    }
    var changes: [PermissionChange] = []
    for use in [.anything] + SigningUses.named.map(\.use) {
        func permits(_ rule: Rule) -> Bool { rule.uses.map { $0.contains(.anything) || $0.contains(use) } ?? false }
        let ofUse = given(
            by: rules.filter(permits), butNotBy: others.filter(permits), isGain: isGain, for: use, within: &limits)
        for change in ofUse {
            // What is not listed as any message is listed by its uses.
            if let place = changes.firstIndex(where: { $0.rule == change.rule && $0.exampleUnit == change.exampleUnit })
            {
                changes[place] = changes[place].also(for: use)
            } else {
                changes.append(change)
            }
        }
    }
    return changes
}

extension PermissionChange {
    fileprivate func also(for use: SigningUses) -> PermissionChange {
        PermissionChange(
            isGain: isGain, rule: rule, uses: (uses ?? []).union(use), exampleUnit: exampleUnit, isCertain: isCertain)
    }
}

/// A key of both policies that has another file or another certificate.
package struct FileChange: Equatable, Sendable {
    package let old: Key
    package let new: Key
}

/// The keys of both policies whose files differ, by name.
package func fileDifferences(from old: Policy, to new: Policy) -> [FileChange] {
    new.keys.values.sorted { $0.name < $1.name }.compactMap { key in
        guard let before = old.keys[key.name], (before.source, before.certificate) != (key.source, key.certificate)
        else { return nil }
        return FileChange(old: before, new: key)
    }
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
    /// The rules for a key that permit something to somebody.
    fileprivate func effectiveRules(_ right: Right, for name: KeyName) -> [Rule] {
        (rules(right)[name] ?? []).filter { !isNobody($0.identity) }
    }

    /// Whether anybody may ask for the status by this line. Root may ask in any case.
    fileprivate func isNoticed(_ permit: StatusPermit) -> Bool {
        permit.identity != .user(0) && !isNobody(permit.identity)
    }
}

/// The rules of one key that permit something that none of the other policy's rules permits.
private func given(
    by rules: [Rule], butNotBy others: [Rule], isGain: Bool, for uses: SigningUses?, within limits: inout SearchLimits
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
            given.append(PermissionChange(isGain: isGain, rule: rule, uses: uses, exampleUnit: nil, isCertain: true))
            continue
        }
        switch unit(of: [pattern], butOfNone: others.compactMap(\.unit) + wholeUnits, within: &limits) {
        case .named(let unit):
            given.append(PermissionChange(isGain: isGain, rule: rule, uses: uses, exampleUnit: unit, isCertain: true))
        case .untold:
            given.append(PermissionChange(isGain: isGain, rule: rule, uses: uses, exampleUnit: nil, isCertain: false))
        case .none: break
        }
    }
    return given
}
