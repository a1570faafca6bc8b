// Reads the words of a policy that say who: users, groups, numbers and units.
//
// An account that is not found costs its own line and no other: there is a warning, and the line has no effect. Must never
// take a lookup that failed for an account that does not exist.

internal import Wire

extension Grammar {
    /// The number of the pattern of units that the word is. Nil if it is none, which is reported.
    mutating func unitNumber(_ word: Word) -> UInt32? {
        if let known = draft.tables.number(ofUnit: word.text) { return known }
        if let pattern = UnitPattern(word.bytes) { return draft.tables.add(pattern) }
        report("bad unit name '\(word.text)': \(UnitPattern.fault(in: word.bytes) ?? "")", word)
        return nil
    }

    /// Whom the word names. Nil if it is faulty, or names an account that is not found; either is reported.
    /// - Parameters:
    ///   - effect: what it means for the line that the account is not found.
    ///   - permits: whether the line lets that identity have something.
    mutating func identity(
        _ word: Word, ifMissing effect: @autoclosure () -> String, permits: Bool = true
    ) -> Identity? {
        if word.namesUnit { return unitIdentity(word.dropping(Identity.unitPrefix.utf8.count), permits: permits) }
        let isGroup = word.bytes.first == UInt8(ascii: ":")
        let name = word.dropping(UInt8(ascii: ":")) ?? word
        let kind = isGroup ? "group" : "user"
        if name.bytes.isEmpty {
            report("the group's name is missing after ':'", word)
            return nil
        }
        if name.isNumber {
            guard let id = UInt32(name.text) else {
                report("\(isGroup ? "gid" : "uid") \(name.text) is out of range; the largest is 4294967294", word)
                return nil
            }
            guard id != .max else {
                report("4294967295 is no \(kind): the system uses that number for \"none\"", word)
                return nil
            }
            return checked(isGroup ? .group(id) : .user(id), word, permits: permits)
        }
        switch isGroup ? resolver.group(name.text) : resolver.user(name.text) {
        case .id(let id):
            if !isGroup { draft.setName(name.text, of: id) }
            return checked(isGroup ? .group(id) : .user(id), word, permits: permits)
        case .unknown:
            let message = "no such \(kind): '\(name.text)'; \(effect())"
            missing.add(message, at: location)
            let resolver = resolver
            report(message + Self.hint(name, isGroup: isGroup, resolver), word, .warning)
        case .failed(let reason):
            report("the \(kind) '\(name.text)' cannot be looked up: \(reason)", word)
        }
        return nil
    }

    /// What may have been meant: a group was named as a user, or the reverse; a unit as a user; or the name is misspelt.
    private static func hint(_ name: Word, isGroup: Bool, _ resolver: Resolver) -> String {
        if case .id = isGroup ? resolver.user(name.text) : resolver.group(name.text) {
            let (kind, written) = isGroup ? ("user", name.text) : ("group", ":" + name.text)
            return "; there is a \(kind) of that name, written '\(written)'"
        }
        if name.says("unit") { return "; a unit is written 'unit:NAME'" }
        let isUnit = [".service", ".scope"].contains { name.text.hasSuffix($0) } && UnitPattern(name.bytes) != nil
        if isUnit { return "; a unit is written 'unit:\(name.text)'" }
        let similar = closest(to: name.text, among: resolver.known(isGroup))
        return similar.map { "; did you mean '\(isGroup ? ":" : "")\($0)'?" } ?? ""
    }

    private mutating func unitIdentity(_ word: Word, permits: Bool) -> Identity? {
        if word.bytes.isEmpty {
            report("the unit's name is missing after 'unit:'", word)
            return nil
        }
        guard let number = unitNumber(word) else { return nil }
        let pattern = draft.tables.units[Int(number)]
        if permits, let unit = pattern.unitOfAnyUser {
            report(
                "this line permits every user that can log in: \(word.text) matches \(unit) too", word, .warning)
        }
        return .unit(pattern)
    }

    private mutating func checked(_ identity: Identity, _ word: Word, permits: Bool) -> Identity {
        let (uid, gid) = (resolver.overflowUID, resolver.overflowGID)
        let shown: String? =
            switch identity {
            case .user(uid): "uid \(uid) is what the kernel shows for every account"
            case .group(gid): "gid \(gid) is what the kernel shows for every group"
            case .user, .group, .unit: nil
            }
        if permits, let shown {
            report(
                "this line never matches: \(shown) of another user namespace, so it is never permitted", word, .warning)
        }
        return identity
    }
}

extension Word {
    /// Whether it has only digits.
    var isNumber: Bool { bytes.allSatisfy { (0x30...0x39).contains($0) } }
}
