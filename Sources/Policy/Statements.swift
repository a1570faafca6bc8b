// Reads the statements of a policy word by word: key, permit, limit. `never` lines have a file of their own.
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

    // MARK: permit IDENTITY [unit UNIT] key NAME…, permit IDENTITY status

    mutating func readPermit(_ words: inout ArraySlice<Word>) throws(EndOfSense) {
        let who = try next(&words, "the user, the :group or unit:NAME is missing")
        let identity = identity(who, ifMissing: "this line permits nobody")
        var unit: UnitPattern?
        var isFaulty = false
        var keyword = try next(&words, "'key' and the names of keys, or 'status', are missing")
        if keyword.says("status") {
            if let extra = words.first { throw unknown(extra, among: []) }
            return permitStatus(to: identity, who)
        }
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
            let known = who.namesUnit ? ["key", "status"] : ["unit", "key", "status"]
            throw unknown(keyword, among: unit == nil ? known : ["key"])
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

    private mutating func permitStatus(to identity: Identity?, _ who: Word) {
        guard let identity else { return }
        let permit = StatusPermit(identity: identity, writtenIdentity: who.text, location: location)
        if let first = policy.statusPermit(of: identity) {
            report("'status' for \(who.text) adds nothing: \(first.location) permits that already", who, .warning)
        } else {
            policy.add(permit)
        }
    }

    // MARK: limit IDENTITY|each-user BOUND…

    mutating func readLimit(_ words: inout ArraySlice<Word>) throws(EndOfSense) {
        let who = try next(&words, "the user, the :group or 'each-user' is missing")
        if who.namesUnit {
            throw fault("a limit is for a user, a :group or 'each-user', not for a unit", who)
        }
        let isEachUser = who.says("each-user")
        let identity = isEachUser ? nil : identity(who, ifMissing: "this line limits nobody")
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
