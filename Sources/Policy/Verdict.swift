// Who may have what: the one implementation of the decision, for the daemon and for every tool.
//
// Must never permit by a uid, gid or unit that is not known for certain, and never permit by default:
// root needs a line like anybody else.

package import Wire

/// A caller, as far as its identity is certain.
package struct Caller: Equatable, Sendable {
    /// Nil where the kernel cannot express it here (the overflow uid): such a caller is nobody's.
    package let uid: UInt32?
    /// The primary and supplementary groups, without those that the kernel cannot express.
    package let groups: [UInt32]
    /// The systemd unit, nil where the kernel cannot tell.
    package let unit: String?

    package init(uid: UInt32?, groups: [UInt32], unit: String?) {
        self.uid = uid
        self.groups = groups
        self.unit = unit
    }

    /// A caller as the kernel shows it. `unmapped`: the ids that it shows for all it cannot express here; they
    /// are nobody's.
    package init(uid: UInt32, gid: UInt32, groups: [UInt32], unit: String?, unmapped: (uid: UInt32, gid: UInt32)) {
        self.init(
            uid: uid == unmapped.uid || uid == .max ? nil : uid,
            groups: ([gid] + groups).filter { $0 != unmapped.gid && $0 != .max }, unit: unit)
    }

    /// The identities that lines can name this caller by.
    package var identities: [Identity] {
        guard let uid else { return [] }
        return [.user(uid)] + groups.map { .group($0) }
    }
}

/// The policy's answer for a key and a caller.
package enum Verdict: Equatable, Sendable {
    case permitted(Key, by: Rule)
    case denied(Denial)

    /// Why: for the log, never for the caller.
    package enum Denial: Sendable {
        case noRule, unknownKey

        package var reason: Reason {
            switch self {
            case .noRule: .noRule
            case .unknownKey: .unknownKey
            }
        }
    }
}

/// Why a line does not permit a caller: the first part of it that does not match.
package enum Mismatch: Equatable, Sendable {
    /// The kernel cannot express the caller's uid here.
    case nobody
    case anotherUser
    case notInGroup
    /// The caller's unit is not one that the line means; nil where it is not known.
    case unit(String?)
}

extension Rule {
    /// What keeps the line from permitting this caller; nil where it does.
    package func mismatch(with caller: Caller) -> Mismatch? {
        guard let uid = caller.uid else { return .nobody }
        switch identity {
        case .user(let permitted): guard permitted == uid else { return .anotherUser }
        case .group(let permitted): guard caller.groups.contains(permitted) else { return .notInGroup }
        }
        guard let unit else { return nil }
        guard let actual = caller.unit, unit.matches(actual) else { return .unit(caller.unit) }
        return nil
    }

    /// Whether the line is about this caller.
    package func permits(_ caller: Caller) -> Bool { mismatch(with: caller) == nil }
}

extension Policy {
    /// Whether `caller` may have the key, and by which line: the first of those that say so.
    package func verdict(on name: KeyName, for caller: Caller) -> Verdict {
        let permitting = caller.identities.compactMap { identity in
            rules(of: identity)[name]?.first { $0.rule.permits(caller) }
        }
        let first = permitting.min { $0.order < $1.order }
        guard let key = keys[name] else { return .denied(.unknownKey) }
        guard let first else { return .denied(.noRule) }
        return .permitted(key, by: first.rule)
    }

    /// The keys that `caller` may get, sorted.
    package func keys(for caller: Caller) -> [KeyName] {
        var permitted: Set<KeyName> = []
        for identity in caller.identities {
            for (name, lines) in rules(of: identity) where lines.contains(where: { $0.rule.permits(caller) }) {
                permitted.insert(name)
            }
        }
        return permitted.sorted()
    }
}
