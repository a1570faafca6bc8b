// Why a caller may have a key, or may not: all lines that say so, or those that come nearest.
//
// Must never decide: it asks each line what the verdict asks it.

package import Wire

/// What the policy says of one caller and one key.
package struct Explanation: Equatable, Sendable {
    /// A line for that key that does not permit it to this caller, and why.
    package struct Miss: Equatable, Sendable {
        package let rule: Rule
        package let mismatch: Mismatch
    }

    /// Nil where there is no such key.
    package let key: Key?
    /// The lines that permit it; the first is the one that the audit log names.
    package let permitting: [Rule]
    /// Every other line about the key, nearest first: those whose user or group matches and only the unit
    /// differs.
    package let misses: [Miss]
    /// A declared key whose name is a slip of the pen away from one that is not.
    package let likelyMeant: String?

    package var isPermitted: Bool { !permitting.isEmpty }
}

extension Policy {
    /// Explains the verdict on `name` for `caller`.
    package func explanation(of name: KeyName, for caller: Caller) -> Explanation {
        let rules = rules[name] ?? []
        var misses = rules.compactMap { rule in
            rule.mismatch(with: caller).map { Explanation.Miss(rule: rule, mismatch: $0) }
        }
        // In the order of the lines otherwise.
        let nearest = misses.filter { if case .unit = $0.mismatch { true } else { false } }
        misses = nearest + misses.filter { if case .unit = $0.mismatch { false } else { true } }
        let known = keys[name]
        return Explanation(
            key: known, permitting: rules.filter { $0.permits(caller) }, misses: misses,
            likelyMeant: known == nil
                ? closest(to: name.description, among: keys.keys.map(\.description).sorted()) : nil)
    }
}
