// `never` lines: what a policy must not permit. A policy that permits it anyway is faulty.
//
// A line is held against what the other lines say, and not against who is in which group now: a group may have any member,
// and what is in a unit may be any account. So what it says stays true when accounts change. Must never pass a policy that
// it could not check.

package import Wire

/// One key of a `never` line. A line with several keys gives several.
package struct Exclusion: Equatable, Sendable {
    /// Who must not have the key. Nil for anyone.
    package let identity: Identity?
    /// In the words of the line.
    package let writtenIdentity: String
    /// What must not be permitted.
    package let right: Right
    package let key: KeyName
    /// Who may have it nevertheless.
    package let exceptions: Set<Identity>
    /// In the words of the line.
    package let writtenExceptions: [String]
    package let location: Location

    /// The part of the line that concerns this key: `never anyone key web unless www-data`.
    package var statement: String {
        "never \(writtenIdentity) \(right.rawValue) \(key)"
            + (writtenExceptions.isEmpty ? "" : " unless \(writtenExceptions.joined(separator: " "))")
    }

    /// The units in which the line excludes nobody, in its words.
    package var exceptedUnits: [String] {
        writtenExceptions.filter { $0.hasPrefix(Identity.unitPrefix) }.map {
            String($0.dropFirst(Identity.unitPrefix.count))
        }
    }

    /// Whether the line says that this caller must not have the right to the key.
    package func excludes(_ caller: Caller) -> Bool {
        guard caller.canBeNamed, identity.map(caller.matches) ?? true else { return false }
        return !exceptions.contains(where: caller.matches)
    }
}

extension Caller {
    /// Whether it is one of those that a line about `identity` is about.
    fileprivate func matches(_ identity: Identity) -> Bool {
        guard canBeNamed else { return false }
        return switch identity {
        case .user(let uid): self.uid == uid
        case .group(let gid): !isUnitAlone && groups.contains(gid)
        case .unit(let pattern): unit.map(pattern.matches) ?? false
        }
    }
}

/// Whether there can be a caller that a rule permits and a `never` line excludes.
enum Conflict: Equatable {
    case none
    case found
    /// There are too many patterns of units to tell.
    case untold
}

extension Exclusion {
    /// Whether some caller, with any groups and in any unit, is permitted by `rule` and excluded by this line.
    /// - Parameter limits: how long the search for a unit may take.
    func conflict(with rule: Rule, within limits: inout SearchLimits) -> Conflict {
        // No caller has two uids. It has the groups that both lines ask for, and no other.
        if case .user(let permitted) = rule.identity, case .user(let excluded)? = identity, permitted != excluded {
            return .none
        }
        if exceptions.contains(rule.identity) { return .none }
        if let identity, exceptions.contains(identity) { return .none }
        let units = [rule.namedUnit, identity?.unit].compactMap(\.self)
        // Where neither line asks for a unit, it may be one that the kernel cannot tell.
        guard !units.isEmpty else { return .found }
        switch unit(of: units, butOfNone: exceptions.compactMap(\.unit), within: &limits) {
        case .named: return .found
        case .none: return .none
        case .untold: return .untold
        }
    }
}
