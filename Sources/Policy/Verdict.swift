// The decision who may have which key. It is implemented only here, for the daemon and for every tool.
//
// Must never permit by a uid, gid or unit that is not known for certain. Must never permit by default: even root needs
// a line.

package import Wire

/// A caller, as far as its identity is certain.
package struct Caller: Equatable, Sendable {
    /// Nil if the kernel cannot express it here (the overflow uid). No line permits such a caller anything. Also nil
    /// if the caller is a unit alone.
    package let uid: UInt32?
    /// The primary and supplementary groups, without those that the kernel cannot express here.
    package let groups: [UInt32]
    /// The systemd unit, or nil if the kernel cannot tell.
    package let unit: String?
    /// True if it is a unit and no account: the service manager asks for a unit that it is about to start.
    package let isUnitAlone: Bool
    /// Its user and its groups, as identities.
    let accounts: [Identity]

    package init(uid: UInt32?, groups: [UInt32], unit: String?) {
        self.init(uid: uid, groups: groups, unit: unit, accounts: Self.accounts(uid, groups))
    }

    private init(uid: UInt32?, groups: [UInt32], unit: String?, accounts: [Identity]) {
        self.uid = uid
        self.groups = groups
        self.unit = unit
        self.accounts = accounts
        isUnitAlone = false
    }

    /// The same accounts, in a unit.
    package func running(in unit: String?) -> Caller {
        Caller(uid: uid, groups: groups, unit: unit, accounts: accounts)
    }

    /// A unit, whatever account it runs as. Lines about users and groups do not match it.
    package init(unitAlone unit: String) {
        uid = nil
        groups = []
        accounts = []
        self.unit = unit
        isUnitAlone = true
    }

    /// A caller as the kernel shows it.
    /// - Parameter unmapped: the ids that the kernel shows for all ids that it cannot express here. They identify
    ///   nobody.
    package init(uid: UInt32, gid: UInt32, groups: [UInt32], unit: String?, unmapped: (uid: UInt32, gid: UInt32)) {
        self.init(
            uid: uid == unmapped.uid || uid == .max ? nil : uid,
            groups: ([gid] + groups).filter { $0 != unmapped.gid && $0 != .max }, unit: unit)
    }

    /// Whether any line can match it.
    var canBeNamed: Bool { uid != nil || isUnitAlone }

    private static func accounts(_ uid: UInt32?, _ groups: [UInt32]) -> [Identity] {
        guard let uid else { return [] }
        var accounts: [Identity] = []
        accounts.reserveCapacity(1 + groups.count)
        accounts.append(.user(uid))
        for group in groups { accounts.append(.group(group)) }
        return accounts
    }
}

/// The policy's answer for a key and a caller.
package enum Verdict: Equatable, Sendable {
    case permitted(Key, by: Rule)
    case denied(Denial)

    /// The reason, for the log only. The caller is never told.
    package enum Denial: Sendable {
        case noRule, unknownKey
        /// There is such a key, but the kernel cannot express the caller's uid here, so no line can permit it.
        case overflowUID

        package var reason: Reason {
            switch self {
            case .noRule: .noRule
            case .unknownKey: .unknownKey
            case .overflowUID: .overflowUID
            }
        }
    }
}

/// The policy's answer for the signatures of a key and a caller.
package enum SigningVerdict: Equatable, Sendable {
    /// What each of the lines permits that permit something, and the first of them.
    case permitted(Key, for: SigningUses, by: Rule)
    case denied(Verdict.Denial)
}

/// Why a line does not permit a caller: the first part of the line that does not match.
package enum Mismatch: Equatable, Sendable {
    /// The kernel cannot express the caller's uid here.
    case nobody
    case anotherUser
    case notInGroup
    /// The line is for a user or a group, and the caller is a unit alone.
    case unitAlone
    /// The line is for another unit. The value is the caller's unit, or nil if it is not known.
    case unit(String?)
}

extension Rule {
    /// The first part of the line that does not match this caller, or nil if the line permits it.
    package func mismatch(with caller: Caller) -> Mismatch? {
        guard caller.canBeNamed else { return .nobody }
        switch identity {
        case .user, .group: if caller.isUnitAlone { return .unitAlone }
        case .unit: break
        }
        switch identity {
        case .user(let permitted): guard permitted == caller.uid else { return .anotherUser }
        case .group(let permitted): guard caller.groups.contains(permitted) else { return .notInGroup }
        case .unit: break
        }
        guard let unit = namedUnit else { return nil }
        guard let actual = caller.unit, unit.matches(actual) else { return .unit(caller.unit) }
        return nil
    }

    /// The units to which the line is limited, whether as its identity or besides it. Nil if it names none.
    package var namedUnit: UnitPattern? {
        if case .unit(let pattern) = identity { pattern } else { unit }
    }

    /// Whether the line permits this caller.
    package func permits(_ caller: Caller) -> Bool { mismatch(with: caller) == nil }
}

extension StatusPermit {
    /// Whether the line permits this caller.
    package func permits(_ caller: Caller) -> Bool {
        guard caller.canBeNamed else { return false }
        switch identity {
        case .user, .group: return caller.accounts.contains(identity)
        case .unit(let pattern): return caller.unit.map(pattern.matches) == true
        }
    }
}

extension Policy {
    /// Whether `caller` may have the key, and the first line that permits it.
    package func verdict(on name: KeyName, for caller: Caller) -> Verdict {
        let number = tables.number(ofKey: name.description.utf8) ?? Tables.none
        var first: UInt32?
        for identity in identities(of: caller) {
            guard let named = tables.number(of: identity), let rule = firstRule(of: named, about: number, for: caller)
            else { continue }
            if rule < first ?? .max { first = rule }
        }
        guard number != Tables.none, tables.isDeclared(number) else { return .denied(.unknownKey) }
        guard let first else { return .denied(caller.canBeNamed ? .noRule : .overflowUID) }
        return .permitted(tables.key(number), by: tables.rule(first, .key))
    }

    /// The first rule about a key that permits the caller by one of its identities.
    private func firstRule(of identity: UInt32, about key: UInt32, for caller: Caller) -> UInt32? {
        tables.getting.rules(of: identity, about: key).first { permits(tables.getting[$0], caller) }
    }

    /// Whether a rule permits a caller who has its identity.
    private func permits(_ rule: RuleEntry, _ caller: Caller) -> Bool {
        let unit = rule.unit
        if unit == Tables.none { return true }
        return caller.unit.map(tables.units[Int(unit)].matches) ?? false
    }

    /// Whether `caller` may have the key sign, for what, and the first line that permits it. The order of lines has no
    /// meaning, so two lines permit what each of them does.
    package func signingVerdict(on name: KeyName, for caller: Caller) -> SigningVerdict {
        let number = tables.number(ofKey: name.description.utf8) ?? Tables.none
        var first: UInt32?
        var uses: SigningUses = []
        for identity in identities(of: caller) {
            guard let named = tables.number(of: identity) else { continue }
            for rule in tables.signing.rules(of: named, about: number) where permits(tables.signing[rule], caller) {
                first = min(first ?? .max, rule)
                uses.formUnion(tables.signing[rule].uses)
            }
        }
        guard number != Tables.none, tables.isDeclared(number) else { return .denied(.unknownKey) }
        guard let first else { return .denied(caller.canBeNamed ? .noRule : .overflowUID) }
        return .permitted(tables.key(number), for: uses, by: tables.rule(first, .sign))
    }

    /// The keys that `caller` may get, sorted.
    package func keys(for caller: Caller) -> [KeyName] {
        var permitted: Set<UInt32> = []
        for identity in identities(of: caller) {
            guard let number = tables.number(of: identity) else { continue }
            for rule in tables.getting.byIdentity[number] where permits(tables.getting[rule], caller) {
                permitted.insert(tables.getting[rule].key)
            }
        }
        return permitted.map(tables.name).sorted()
    }
}
