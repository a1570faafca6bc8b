// What somebody may have, and who may have a key: the lines of a policy that are about a user, a unit or a key.
//
// Must never decide by itself: it asks of each line exactly what the verdict asks.

package import Policy
package import Wire

/// What a question is about. What is nil may be anything.
package struct Subject: Sendable {
    /// A user with its groups. The unit of this caller is not looked at.
    package let user: Caller?
    package let unit: String?
    package let key: KeyName?

    package init(user: Caller?, unit: String?, key: KeyName?) {
        self.user = user
        self.unit = unit
        self.key = key
    }
}

extension Policy {
    /// The lines that permit a key, or its signatures, to a caller that fits `subject`, by key, and in the order of the
    /// lines; for each key those about the key itself first. Lines about nobody permit to no caller.
    ///
    /// For a user alone these are all lines that permit it a key in some unit, lines about whole units among them. For
    /// a unit alone they are the lines that name the unit: what else runs there depends on its user.
    package func rules(about subject: Subject) -> [Rule] {
        let keys = subject.key.map { [$0] } ?? keys.keys.sorted()
        return keys.flatMap { key in
            Right.allCases.flatMap {
                (rules($0)[key] ?? []).filter { !isNobody($0.identity) && subject.fits($0) }
            }
        }
    }
}

extension Subject {
    package func fits(_ rule: Rule) -> Bool {
        if let key, rule.key != key { return false }
        guard let user else {
            guard let unit else { return true }
            return rule.namedUnit?.matches(unit) == true
        }
        if let unit { return rule.permits(Caller(uid: user.uid, groups: user.groups, unit: unit)) }
        switch rule.mismatch(with: Caller(uid: user.uid, groups: user.groups, unit: nil)) {
        case nil, .unit: return true
        case .nobody, .anotherUser, .notInGroup, .unitAlone: return false
        }
    }

    /// Whether a line about the status is about it. For a user without a unit these are also the lines about whole units.
    package func fits(_ permit: StatusPermit) -> Bool {
        if key != nil { return false }
        guard let user else {
            guard let unit else { return true }
            return permit.identity.unit?.matches(unit) == true
        }
        if unit == nil, permit.identity.unit != nil { return user.uid != nil }
        return permit.permits(Caller(uid: user.uid, groups: user.groups, unit: unit))
    }
}
