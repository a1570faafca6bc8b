// Reads the statements of a policy word by word: key, permit, limit.
//
// Must never skip a word: a word that is not understood is an error, with its place.

internal import Wire

extension Grammar {
    // MARK: key NAME PATH [certificate PATH]

    mutating func readKey(_ words: inout ArraySlice<Word>) throws(EndOfSense) {
        let nameWord = try next(&words, "the key's name is missing")
        let name = keyName(nameWord)
        var isFaulty = true
        defer { if isFaulty, let name { faultyKeys.insert(name) } }
        let sourceWord = try next(&words, "the path of the key's file is missing")
        let source = source(sourceWord)
        var files = source.map { [($0, sourceWord)] } ?? []
        var certificate: Source?
        if let word = words.popFirst() {
            guard word.says("certificate") else { throw unknown(word, among: ["certificate"]) }
            let word = try next(&words, "the path of the certificate's file is missing")
            certificate = self.source(word)
            if let certificate { files.append((certificate, word)) }
            if let extra = words.first { throw unknown(extra, among: []) }
        }
        guard let name, let source else { return }
        if let first = policy.keys[name] {
            report("key '\(name)' is declared twice; the first declaration is at \(first.location)", nameWord)
            return
        }
        policy.add(Key(name: name, source: source, certificate: certificate, location: location))
        isFaulty = false
        declarations.append(Declaration(name: name, line: line, word: nameWord, sources: files))
    }

    mutating func keyName(_ word: Word) -> KeyName? {
        if let name = KeyName(word.bytes) { return name }
        report("bad key name '\(word.text)': \(KeyName.fault(in: word.bytes) ?? "")", word)
        return nil
    }

    mutating func source(_ word: Word) -> Source? {
        let scheme = "credential:"
        if word.text.hasPrefix(scheme) {
            let id = String(word.text.dropFirst(scheme.count))
            guard !id.isEmpty, id != ".", id != "..", !id.utf8.contains(UInt8(ascii: "/")) else {
                report("a credential's ID is a file name, without a slash", word)
                return nil
            }
            return .credential(id)
        }
        guard word.bytes.first == UInt8(ascii: "/") else {
            report("'\(word.text)' is a relative path; write it in full, beginning with '/'", word)
            return nil
        }
        guard word.bytes.last != UInt8(ascii: "/") else {
            report("'\(word.text)' is a directory; name the file in it", word)
            return nil
        }
        return .file(word.text)
    }

    // MARK: permit IDENTITY [unit UNIT] key NAME…

    mutating func readPermit(_ words: inout ArraySlice<Word>) throws(EndOfSense) {
        let who = try next(&words, "the user, the :group or unit:NAME is missing")
        let identity = identity(who)
        var unit: UnitPattern?
        var isFaulty = false
        var keyword = try next(&words, "'key' and the names of keys are missing")
        if keyword.says("unit") {
            if who.namesUnit {
                report("'\(who.text)' is a unit already; name one unit, not two", keyword)
                isFaulty = true
            }
            let word = try next(&words, "the unit's name is missing")
            unit = unitPattern(word)
            if unit == nil { isFaulty = true }
            keyword = try next(&words, "'key' and the names of keys are missing")
        }
        guard keyword.says("key") else {
            throw unknown(keyword, among: unit == nil && !who.namesUnit ? ["unit", "key"] : ["key"])
        }
        if words.isEmpty { throw missing("the name of a key is missing") }
        while let word = words.popFirst() {
            guard let name = keyName(word) else { continue }
            mentions.append(Mention(name: name, line: line, word: word))
            guard let identity, !isFaulty else { continue }
            let rule = Rule(
                identity: identity, writtenIdentity: who.text, unit: unit, key: name, location: location)
            permits.append(Permit(rule: rule, line: line, word: word))
        }
    }

    /// The pattern that the word is. Reports the fault if it is none.
    mutating func unitPattern(_ word: Word) -> UnitPattern? {
        if let fault = UnitPattern.fault(in: word.bytes) {
            report("bad unit name '\(word.text)': \(fault)", word)
        }
        return UnitPattern(word.bytes)
    }

    mutating func identity(_ word: Word) -> Identity? {
        if word.namesUnit { return unitIdentity(word.dropping(Identity.unitPrefix.utf8.count)) }
        let isGroup = word.bytes.first == UInt8(ascii: ":")
        let name = word.dropping(UInt8(ascii: ":")) ?? word
        let kind = isGroup ? "group" : "user"
        if name.bytes.isEmpty {
            report("the group's name is missing after ':'", word)
            return nil
        }
        if name.bytes.allSatisfy({ (0x30...0x39).contains($0) }) {
            guard let id = UInt32(name.text) else {
                report("\(isGroup ? "gid" : "uid") \(name.text) is out of range; the largest is 4294967294", word)
                return nil
            }
            guard id != .max else {
                report("4294967295 is no \(kind): the system uses that number for \"none\"", word)
                return nil
            }
            return checked(isGroup ? .group(id) : .user(id), word)
        }
        switch isGroup ? resolver.group(name.text) : resolver.user(name.text) {
        case .id(let id):
            if !isGroup { policy.setName(name.text, of: id) }
            return checked(isGroup ? .group(id) : .user(id), word)
        case .unknown:
            // A likely mistake is to name a group as a user, or the reverse. The hint says so.
            let other = isGroup ? resolver.user(name.text) : resolver.group(name.text)
            var hint = Self.unitHint(name)
            if case .id = other {
                let (otherKind, written) = isGroup ? ("user", name.text) : ("group", ":" + name.text)
                hint = "; there is a \(otherKind) of that name, written '\(written)'"
            }
            report("no such \(kind): '\(name.text)'\(hint)", word)
        case .failed(let reason):
            report("the \(kind) '\(name.text)' cannot be looked up: \(reason)", word)
        }
        return nil
    }

    private mutating func unitIdentity(_ word: Word) -> Identity? {
        if word.bytes.isEmpty {
            report("the unit's name is missing after 'unit:'", word)
            return nil
        }
        guard let pattern = unitPattern(word) else { return nil }
        if let unit = pattern.unitOfAnyUser {
            report(
                "this line permits every user that can log in: \(word.text) matches \(unit) too", word, .warning)
        }
        return .unit(pattern)
    }

    /// What is said in addition if somebody has named a unit as they would name a user.
    private static func unitHint(_ word: Word) -> String {
        if word.says("unit") { return "; a unit is written 'unit:NAME'" }
        let isUnit = [".service", ".scope"].contains { word.text.hasSuffix($0) } && UnitPattern(word.bytes) != nil
        return isUnit ? "; a unit is written 'unit:\(word.text)'" : ""
    }

    mutating func checked(_ identity: Identity, _ word: Word) -> Identity {
        let overflowUID = resolver.overflowUID
        if identity == .user(overflowUID) {
            report(
                "this line never matches: uid \(overflowUID) is what the kernel shows for every account "
                    + "of another user namespace, so it is never permitted", word, .warning)
        }
        return identity
    }

    // MARK: limit IDENTITY|each-user BOUND…

    mutating func readLimit(_ words: inout ArraySlice<Word>) throws(EndOfSense) {
        let who = try next(&words, "the user, the :group or 'each-user' is missing")
        if who.namesUnit {
            throw fault("a limit is for a user, a :group or 'each-user', not for a unit", who)
        }
        let isEachUser = who.says("each-user")
        let identity = isEachUser ? nil : identity(who)
        if words.isEmpty { throw missing("'connections N', 'requests N' or 'watches N' is missing") }
        while let bound = words.popFirst() {
            let range: ClosedRange<Int>
            let path: WritableKeyPath<Bounds, Int?>
            switch bound.text {
            case "connections": (range, path) = (Limits.policyConnections, \.connections)
            case "requests": (range, path) = (Limits.policyRequests, \.requests)
            case "watches": (range, path) = (Limits.policyWatches, \.watches)
            default: throw unknown(bound, among: ["connections", "requests", "watches"])
            }
            let word = try next(&words, "the number after '\(bound.text)' is missing")
            // The digits are checked here because `Int(_:)` also accepts a sign.
            guard word.bytes.allSatisfy({ (0x30...0x39).contains($0) }) else {
                report("'\(word.text)' is not a number", word)
                continue
            }
            guard let number = Int(word.text), range.contains(number) else {
                report(
                    "\(word.text) is out of range; \(bound.text) is from \(range.lowerBound) to \(range.upperBound)",
                    word)
                continue
            }
            guard isEachUser || identity != nil else { continue }
            let key = BoundOf(identity: identity, bound: bound.text)
            if let first = boundLocations[key] {
                report("\(bound.text) of \(who.text) are limited twice; the first limit is at \(first)", bound)
                continue
            }
            boundLocations[key] = location
            policy.setBound(path, to: number, for: identity)
        }
    }
}
