// Why a caller may have a key or may not: all lines that permit it, or those that come closest.
//
// Must never decide by itself: it asks of each line exactly what the verdict asks.

package import Policy
package import Wire

/// What the policy says about one caller and one right to one key.
package struct Explanation: Equatable, Sendable {
    /// A line about the key that does not permit it to this caller, and the reason.
    package struct Miss: Equatable, Sendable {
        package let rule: Rule
        package let mismatch: Mismatch
        /// Whether the line permits to no caller at all, as it is about a uid or gid that is nobody's.
        package let isAboutNobody: Bool
    }

    /// The key, or nil if the policy has no such key.
    package let key: Key?
    /// The lines that permit the key. The first one is the one that the audit log names.
    package let permitting: [Rule]
    /// Every other line about the key. Lines whose user or group matches, so that only the unit differs, come first.
    package let misses: [Miss]
    /// The lines that say that this caller must not have the key. So no line could permit it, but in the units that they
    /// except, if the caller has none.
    package let excluding: [Exclusion]
    /// If the key is not declared: a declared key with a similar name, which was probably meant.
    package let likelyMeant: String?

    package var isPermitted: Bool { !permitting.isEmpty }

    /// What the lines together permit to sign. Empty if it is about the key itself.
    package var uses: SigningUses { permitting.reduce(into: []) { $0.formUnion($1.uses ?? []) } }
}

extension Policy {
    /// That there is no such key, and which one was probably meant.
    package func absence(of name: KeyName) -> String {
        "there is no key '\(name)'" + (likelyMeant(by: name).map { "; did you mean '\($0)'?" } ?? "")
    }

    private func likelyMeant(by name: KeyName) -> String? {
        closest(to: name.description, among: keys.keys.map(\.description).sorted())
    }

    /// Explains the verdict on `name` for `caller`.
    package func explanation(of name: KeyName, _ right: Right = .key, for caller: Caller) -> Explanation {
        let rules = rules(right)[name] ?? []
        var misses = rules.compactMap { rule in
            rule.mismatch(with: caller).map {
                Explanation.Miss(rule: rule, mismatch: $0, isAboutNobody: isNobody(rule.identity))
            }
        }
        // Apart from that, the lines keep their order.
        let nearest = misses.filter { if case .unit = $0.mismatch { true } else { false } }
        misses = nearest + misses.filter { if case .unit = $0.mismatch { false } else { true } }
        let known = keys[name]
        return Explanation(
            key: known, permitting: rules.filter { $0.permits(caller) }, misses: misses,
            excluding: (nevers[name] ?? []).filter { $0.right == right && $0.excludes(caller) },
            likelyMeant: known == nil ? likelyMeant(by: name) : nil)
    }
}
