// The policy's grammar: from the bytes of its files to a Policy, or to all that is wrong with them.
//
// Must never stop at the first fault, read a file, or let a policy with a fault come into being.

internal import Wire

struct Grammar {
    private let resolver: Resolver
    private var policy = Policy()
    private var diagnostics: [(order: Order, diagnostic: Diagnostic)] = []
    private var mentions: [Mention] = []
    private var permits: [Permit] = []
    /// What faulty `key` lines name: a fault of theirs is not reported twice.
    private var faultyKeys: Set<KeyName> = []
    private var declarations: [Declaration] = []
    /// Where each bound of each identity was set; a nil identity is `each-user`.
    private var boundLocations: [BoundOf: Location] = [:]
    private var files: [PolicyText] = []
    private var line = Line(file: 0, number: 0, bytes: [])

    /// A key's name in a permit: whether it is declared is known at the end.
    private struct Mention {
        let name: KeyName
        let line: Line
        let word: Word
    }
    private struct Permit {
        let rule: Rule
        let line: Line
        let word: Word
    }
    private struct Declaration {
        let name: KeyName
        let line: Line
        let word: Word
        let sources: [(source: Source, word: Word)]
    }
    private struct Line {
        let file: Int
        let number: Int
        let bytes: ArraySlice<UInt8>
    }
    private struct Order: Comparable {
        let file: Int, line: Int, column: Int
        static func < (left: Order, right: Order) -> Bool {
            (left.file, left.line, left.column) < (right.file, right.line, right.column)
        }
    }
    private struct BoundOf: Hashable {
        let identity: Identity?
        let bound: String
    }

    /// A fault after which the rest of the line says nothing.
    private struct EndOfSense: Error {}

    init(_ resolver: Resolver) { self.resolver = resolver }

    // MARK: Lines

    mutating func read(_ text: PolicyText) {
        files.append(text)
        let lines = text.bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        policy.reserve(keys: lines.count { $0.first == UInt8(ascii: "k") })
        var number = 0
        for bytes in lines {
            number += 1
            line = Line(file: files.count - 1, number: number, bytes: bytes)
            if bytes.count > Limits.policyLineBytes {
                report(
                    "a line has at most \(Limits.policyLineBytes) bytes, this one \(bytes.count)",
                    column: Limits.policyLineBytes + 1)
            } else if let fault = badByte(in: bytes) {
                report(fault.message, column: fault.column)
            } else {
                // The fault is reported already where one was thrown.
                do { try readStatement(words(of: bytes)) } catch {}
            }
        }
    }

    private static let statements = ["key", "permit", "limit"]

    private mutating func readStatement(_ words: [Word]) throws(EndOfSense) {
        guard let first = words.first else { return }
        var rest = words.dropFirst()
        switch first.text {
        case "key": try readKey(&rest)
        case "permit": try readPermit(&rest)
        case "limit": try readLimit(&rest)
        case let other:
            let hint = closest(to: other, among: Self.statements).map { "; did you mean '\($0)'?" }
            throw fault("unknown statement '\(other)'" + (hint ?? "; a line begins with key, permit or limit"), first)
        }
    }

    // MARK: key NAME PATH [certificate PATH]

    private mutating func readKey(_ words: inout ArraySlice<Word>) throws(EndOfSense) {
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

    private mutating func keyName(_ word: Word) -> KeyName? {
        if let name = KeyName(word.bytes) { return name }
        report("bad key name '\(word.text)': \(KeyName.fault(in: word.bytes) ?? "")", word)
        return nil
    }

    private mutating func source(_ word: Word) -> Source? {
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

    private mutating func readPermit(_ words: inout ArraySlice<Word>) throws(EndOfSense) {
        let who = try next(&words, "the user or :group is missing")
        let identity = identity(who)
        var unit: UnitPattern?
        var isFaulty = false
        var keyword = try next(&words, "'key' and the names of keys are missing")
        if keyword.says("unit") {
            let word = try next(&words, "the unit's name is missing")
            unit = UnitPattern(word.bytes)
            if let fault = UnitPattern.fault(in: word.bytes) {
                report("bad unit name '\(word.text)': \(fault)", word)
                isFaulty = true
            }
            keyword = try next(&words, "'key' and the names of keys are missing")
        }
        guard keyword.says("key") else { throw unknown(keyword, among: unit == nil ? ["unit", "key"] : ["key"]) }
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

    private mutating func identity(_ word: Word) -> Identity? {
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
            // The other kind of that name is the likely slip.
            let other = isGroup ? resolver.user(name.text) : resolver.group(name.text)
            var hint = ""
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

    private mutating func checked(_ identity: Identity, _ word: Word) -> Identity {
        if identity == .user(resolver.overflowUID) {
            report(
                "this line never matches: uid \(resolver.overflowUID) is what the kernel shows for every account "
                    + "of another user namespace, so it is never permitted", word, .warning)
        }
        return identity
    }

    // MARK: limit IDENTITY|each-user BOUND…

    private mutating func readLimit(_ words: inout ArraySlice<Word>) throws(EndOfSense) {
        let who = try next(&words, "the user, the :group or 'each-user' is missing")
        let isEachUser = who.says("each-user")
        let identity = isEachUser ? nil : identity(who)
        if words.isEmpty { throw missing("'connections N' or 'requests N' is missing") }
        while let bound = words.popFirst() {
            let range: ClosedRange<Int>
            let path: WritableKeyPath<Bounds, Int?>
            switch bound.text {
            case "connections": (range, path) = (Limits.policyConnections, \.connections)
            case "requests": (range, path) = (Limits.policyRequests, \.requests)
            default: throw unknown(bound, among: ["connections", "requests"])
            }
            let word = try next(&words, "the number after '\(bound.text)' is missing")
            // Digits are checked here, as Int(_:) takes a sign.
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

    // MARK: The whole

    /// What can be said only when every line is known.
    /// - Parameter warns: whether to look for what is no fault, but not as its author will have meant it.
    mutating func finish(warns: Bool) -> ParseResult {
        for permit in permits { policy.add(permit.rule) }
        policy.complete()
        for mention in mentions where !policy.declares(mention.name) && !faultyKeys.contains(mention.name) {
            line = mention.line
            report("no key '\(mention.name)' is declared; a line 'key \(mention.name) PATH' is missing", mention.word)
        }
        // Where a line is faulty, that nobody may get a key may only be for that.
        let isFaulty = diagnostics.contains { $0.diagnostic.severity == .error }
        if warns { warn(isFaulty: isFaulty) }
        let all = diagnostics.sorted { $0.order < $1.order }.map(\.diagnostic)
        return ParseResult(policy: isFaulty ? nil : policy, diagnostics: all)
    }

    private mutating func warn(isFaulty: Bool) {
        warnOfUselessPermits()
        for declaration in declarations {
            line = declaration.line
            if policy.rules[declaration.name] == nil, !isFaulty {
                report("nobody may get key '\(declaration.name)': no line permits it", declaration.word, .warning)
            }
            for (source, word) in declaration.sources {
                if let fault = resolver.fault(source) { report(fault, word, .warning) }
            }
        }
    }

    /// A permit adds nothing where another line gives the same to the same identity, without a unit or
    /// with the same one.
    private mutating func warnOfUselessPermits() {
        struct Subject: Hashable {
            let key: KeyName
            let identity: Identity
        }
        // Most keys have no two lines about the same identity, which is soon seen.
        let suspects = Set(policy.rules.filter { $0.value.namesOneTwice }.keys)
        if suspects.isEmpty { return }
        let groups = Dictionary(grouping: permits.filter { suspects.contains($0.rule.key) }) {
            Subject(key: $0.rule.key, identity: $0.rule.identity)
        }
        for group in groups.values where group.count > 1 {
            let wide = group.first { $0.rule.unit == nil }
            for (index, permit) in group.enumerated() {
                let rule = permit.rule
                line = permit.line
                if let wide, rule.unit != nil {
                    warn(permit, "\(wide.rule.location) permits that without a unit")
                } else if let same = group[..<index].first(where: { $0.rule.unit == rule.unit }) {
                    let isHere = same.rule.location == rule.location
                    warn(permit, isHere ? "this line names it already" : "\(same.rule.location) permits that already")
                }
            }
        }
    }

    private mutating func warn(_ permit: Permit, _ reason: String) {
        report(
            "'\(permit.rule.key)' for \(permit.rule.writtenIdentity) adds nothing: \(reason)", permit.word, .warning)
    }

    // MARK: Words and faults

    private var location: Location { Location(file: files[line.file].file, line: line.number) }

    private mutating func next(_ words: inout ArraySlice<Word>, _ absence: String) throws(EndOfSense) -> Word {
        guard let word = words.popFirst() else { throw missing(absence) }
        return word
    }

    private mutating func unknown(_ word: Word, among known: [String]) -> EndOfSense {
        let hint = closest(to: word.text, among: known).map { "; did you mean '\($0)'?" }
        let expected = known.isEmpty ? "; the line should end here" : "; \(known.joined(separator: " or ")) is expected"
        return fault("unknown word '\(word.text)'" + (hint ?? expected), word)
    }

    private mutating func fault(_ message: String, _ word: Word) -> EndOfSense {
        report(message, word)
        return EndOfSense()
    }

    /// About what is not there: the caret stands behind the last word.
    private mutating func missing(_ message: String) -> EndOfSense {
        let last = words(of: line.bytes).last
        report(message, column: last.map { $0.column + $0.bytes.count } ?? 1)
        return EndOfSense()
    }

    private mutating func report(_ message: String, _ word: Word, _ severity: Diagnostic.Severity = .error) {
        report(message, column: word.column, length: word.bytes.count, severity)
    }

    private mutating func report(
        _ message: String, column: Int, length: Int = 1, _ severity: Diagnostic.Severity = .error
    ) {
        diagnostics.append(
            (
                Order(file: line.file, line: line.number, column: column),
                Diagnostic(severity, message, at: location, column: column, length: length, line: Array(line.bytes))
            ))
    }
}

extension [Rule] {
    /// Whether two of them are about the same identity.
    fileprivate var namesOneTwice: Bool {
        if count > 8 { return Set(map(\.identity)).count < count }
        return indices.contains { index in self[..<index].contains { $0.identity == self[index].identity } }
    }
}
