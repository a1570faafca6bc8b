// Reads the statements of a policy word by word: key, permit, limit. `never` lines have a file of their own.
//
// Must never skip a word: a word that is not understood is an error, with its place.

internal import Wire

extension Grammar {
    // MARK: key NAME PATH [certificate PATH]

    mutating func readKey(_ words: inout ArraySlice<Word>) throws(EndOfSense) {
        let nameWord = try next(&words, "the key's name is missing")
        let key = key(nameWord)
        var isFaulty = true
        defer { if isFaulty, let key { draft.tables.noteFault(key) } }
        let sourceWord = try next(&words, "the path of the key's file is missing")
        let hasSource = isSource(sourceWord)
        var certificate: Word?
        if let word = words.popFirst() {
            guard word.says("certificate") else { throw unknown(word, among: ["certificate"]) }
            let word = try next(&words, "the path of the certificate's file is missing")
            if isSource(word) { certificate = word }
            if let extra = words.first { throw unknown(extra, among: []) }
        }
        guard let key, hasSource else { return }
        if draft.tables.isDeclared(key) {
            let first = draft.tables.key(key)
            report("key '\(first.name)' is declared twice; the first declaration is at \(first.location)", nameWord)
            return
        }
        draft.tables.declare(key, nameWord, source: sourceWord, certificate: certificate, line: line.number)
        isFaulty = false
    }

    /// The number of the key that the word names. Nil if it is no name of a key, which is reported.
    mutating func key(_ word: Word) -> UInt32? {
        if KeyName.accepts(word.bytes) { return draft.tables.intern(word) }
        report("bad key name '\(word.text)': \(KeyName.fault(in: word.bytes) ?? "")", word)
        return nil
    }

    /// The number of the key that a line about a key names.
    mutating func mentionedKey(_ word: Word) -> UInt32? {
        guard let key = key(word) else { return nil }
        if !draft.tables.isDeclared(key) {
            mentions.append(Mention(key: key, line: UInt32(line.number), word: Part(word)))
        }
        return key
    }

    /// Whether the word is the source of a key or certificate. If not, that is reported.
    private mutating func isSource(_ word: Word) -> Bool {
        let scheme = Source.credentialPrefix.utf8
        if word.bytes.starts(with: scheme) {
            let id = word.dropping(scheme.count)
            guard !id.bytes.isEmpty, !id.says("."), !id.says(".."), !id.bytes.contains(UInt8(ascii: "/")) else {
                report("a credential's ID is a file name, without a slash", word)
                return false
            }
            return true
        }
        guard word.bytes.first == UInt8(ascii: "/") else {
            report("'\(word.text)' is a relative path; write it in full, beginning with '/'", word)
            return false
        }
        guard word.bytes.last != UInt8(ascii: "/") else {
            report("'\(word.text)' is a directory; name the file in it", word)
            return false
        }
        return true
    }

    // MARK: permit IDENTITY [unit UNIT] key NAME…, … sign NAME… [for USE…], permit IDENTITY status

    mutating func readPermit(_ words: inout ArraySlice<Word>) throws(EndOfSense) {
        let who = try next(&words, "the user, the :group or unit:NAME is missing")
        let identity = identity(who, ifMissing: "this line permits nobody")
        var unit: UInt32?
        var isFaulty = false
        var keyword = try next(&words, "'key' or 'sign' and the names of keys, or 'status', are missing")
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
            unit = unitNumber(word)
            if unit == nil { isFaulty = true }
            keyword = try next(&words, "'key' or 'sign' and the names of keys are missing")
        }
        guard let right = Right(rawValue: keyword.text) else {
            let known = who.namesUnit ? ["key", "sign", "status"] : ["unit", "key", "sign", "status"]
            throw unknown(keyword, among: unit == nil ? known : ["key", "sign"])
        }
        let names = right == .sign ? words.prefix { !$0.says("for") } : words
        if names.isEmpty { throw missing("the name of a key is missing") }
        let uses = right == .sign ? uses(words.dropFirst(names.count)) : nil
        if right == .sign, uses == nil { isFaulty = true }
        for word in names {
            guard let key = mentionedKey(word), let identity, !isFaulty else { continue }
            draft.tables.add(identity, unit: unit, key: key, uses: uses, line: line.number, who: who, word: word)
        }
    }

    /// What `for` and the words after it say. Without them any message may be signed. Nil if a word is wrong, which is
    /// reported.
    private mutating func uses(_ words: ArraySlice<Word>) -> SigningUses? {
        if words.isEmpty { return .anything }
        if words.count == 1 {
            _ = missing("the use is missing after 'for': tls-server or tls-client")
            return nil
        }
        var uses: SigningUses = []
        for word in words.dropFirst() {
            guard let use = SigningUses.named.first(where: { word.says($0.word) })?.use else {
                _ = unknown(word, among: SigningUses.named.map(\.word))
                return nil
            }
            uses.formUnion(use)
        }
        return uses
    }

    private mutating func permitStatus(to identity: Identity?, _ who: Word) {
        guard let identity else { return }
        let permit = StatusPermit(identity: identity, writtenIdentity: who.text, location: location)
        if let first = draft.statusPermit(of: identity) {
            report("'status' for \(who.text) adds nothing: \(first.location) permits that already", who, .warning)
        } else {
            draft.add(permit)
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
        if words.isEmpty {
            throw missing("'connections N', 'requests N', 'watches N', 'channels N' or 'signatures N' is missing")
        }
        while let bound = words.popFirst() {
            let range: ClosedRange<Int>
            let path: WritableKeyPath<Bounds, Int?>
            switch bound.text {
            case "connections": (range, path) = (Limits.policyConnections, \.connections)
            case "requests": (range, path) = (Limits.policyRequests, \.requests)
            case "watches": (range, path) = (Limits.policyWatches, \.watches)
            case "channels": (range, path) = (Limits.policyChannels, \.channels)
            case "signatures": (range, path) = (Limits.policySignatures, \.signatures)
            default: throw unknown(bound, among: ["connections", "requests", "watches", "channels", "signatures"])
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
            draft.setBound(path, to: number, for: identity)
        }
    }
}
