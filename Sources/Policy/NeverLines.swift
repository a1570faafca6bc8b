// Reads `never` lines, and holds the whole policy against them.
//
// Must never skip a line because checking it takes long: what cannot be told is an error.

internal import Wire

extension Grammar {
    /// One key of a `never` line, with its place.
    struct Assertion {
        let never: Exclusion
        let line: Line
        let word: Word
        /// Kinds of accounts that are excepted but not found: such an account may still be named by its number.
        let missesUser: Bool, missesGroup: Bool
    }

    /// A rule that a `never` line may exclude.
    struct Permit {
        let rule: Rule
        let number: UInt32
    }

    // MARK: never IDENTITY|anyone key|sign NAME… [unless IDENTITY…]

    mutating func readNever(_ words: inout ArraySlice<Word>) throws(EndOfSense) {
        let who = try next(&words, "the user, the :group, unit:NAME or 'anyone' is missing")
        let isAnyone = who.says("anyone")
        let identity = isAnyone ? nil : identity(who, ifMissing: "this line excludes nobody", permits: false)
        let keyword = try next(&words, "'key' or 'sign' and the names of keys are missing")
        guard let right = Right(rawValue: keyword.text) else { throw unknown(keyword, among: ["key", "sign"]) }
        var names: [(key: UInt32, word: Word)] = []
        if words.first.map({ $0.says("unless") }) ?? true { throw missing("the name of a key is missing") }
        while let word = words.popFirst() {
            if word.says("unless") {
                if words.isEmpty { throw missing("who is excepted is missing after 'unless'") }
                break
            }
            if let key = mentionedKey(word) { names.append((key, word)) }
        }
        let errorsBefore = errors
        var exceptions: Set<Identity> = []
        var (missesUser, missesGroup) = (false, false)
        for word in words {
            if let identity = self.identity(word, ifMissing: "nobody is excepted by that name", permits: false) {
                exceptions.insert(identity)
            } else if word.bytes.first == UInt8(ascii: ":") {
                missesGroup = true
            } else {
                missesUser = true
            }
        }
        guard isAnyone || identity != nil, errors == errorsBefore else { return }
        for (key, word) in names {
            let never = Exclusion(
                identity: identity, writtenIdentity: who.text, right: right, key: draft.tables.name(key),
                exceptions: exceptions, writtenExceptions: words.map(\.text), location: location)
            draft.add(never)
            assertions.append(
                Assertion(
                    never: never, line: line, word: word, missesUser: missesUser, missesGroup: missesGroup))
        }
    }

    // MARK: The whole policy

    /// Reports each permission that a `never` line excludes.
    mutating func judge() {
        guard !assertions.isEmpty else { return }
        let tables = draft.tables
        var permitsOf: [RightToKey: Suspects] = [:]
        for subject in Set(assertions.map(\.never.subject)) {
            guard let key = tables.number(ofKey: subject.key.description.utf8) else { continue }
            let right = subject.right
            let permits = tables.table(right).byKey[key].map { Permit(rule: tables.rule($0, right), number: $0) }
            permitsOf[subject] = Suspects(permits.filter { !draft.nobodies.contains($0.rule.identity) })
        }
        var limits = SearchLimits()
        for assertion in assertions where assertion.never.identity.map(draft.nobodies.contains) != true {
            let permits = permitsOf[assertion.never.subject]?.against(assertion.never.identity) ?? []
            line = assertion.line
            pairsLeft -= permits.count
            if pairsLeft < 0 {
                report("there are too many lines about key '\(assertion.never.key)' to check this one", assertion.word)
                return
            }
            for permit in permits where !assertion.mayExcept(permit.rule) {
                let conflict = assertion.never.conflict(with: permit.rule, within: &limits)
                if conflict != .none { report(permit, conflict, assertion) }
            }
        }
    }

    private mutating func report(_ permit: Permit, _ conflict: Conflict, _ assertion: Assertion) {
        let never = assertion.never
        let place = never.location
        let (rule, word) = (permit.rule, goBack(to: permit.number, permit.rule.right))
        let message =
            conflict == .untold
            ? "whether '\(rule.key)' for \(rule.writtenIdentity) is excluded by \(place) cannot be told: "
                + "there are too many patterns of units"
            : "'\(rule.key)' for \(rule.writtenIdentity) is excluded by \(place)\(Self.reason(rule, never))"
        report(
            message, word,
            notes: [
                Diagnostic(
                    .note, "the line that excludes it; 'unless' names who may have it nevertheless", at: place,
                    column: assertion.word.column,
                    length: assertion.word.bytes.count, line: Array(assertion.line.bytes))
            ])
    }

    /// Why a line about others lets through what the `never` line excludes.
    private static func reason(_ rule: Rule, _ never: Exclusion) -> String {
        guard let identity = never.identity, identity != rule.identity else { return "" }
        let (who, whose) = (rule.writtenIdentity, never.writtenIdentity)
        return switch (rule.identity, identity) {
        case (.group, .unit), (.user, .unit): ": it may ask in that unit"
        case (.group, _): ": \(whose) may be, or come to be, in that group"
        case (.user, _): ": \(who) may be, or come to be, in the group \(whose)"
        case (.unit, .unit): ": a unit can match both"
        case (.unit, _): ": that unit may run as \(whose)"
        }
    }
}

/// What two lines must have in common to be compared.
private struct RightToKey: Hashable {
    let right: Right
    let key: KeyName
}

extension Exclusion {
    fileprivate var subject: RightToKey { RightToKey(right: right, key: key) }
}

/// The permissions for one key, sorted out so that a line about one user need not be compared with those of all others.
private struct Suspects {
    private let all: [Grammar.Permit]
    private let ofUsers: [UInt32: [Grammar.Permit]]
    private let ofOthers: [Grammar.Permit]

    init(_ permits: [Grammar.Permit]) {
        all = permits
        ofUsers = Dictionary(grouping: permits.filter { $0.uid != nil }) { $0.uid ?? .max }
        ofOthers = permits.filter { $0.uid == nil }
    }

    func against(_ identity: Identity?) -> [Grammar.Permit] {
        guard case .user(let uid)? = identity else { return all }
        return (ofUsers[uid] ?? []) + ofOthers
    }
}

extension Grammar.Permit {
    fileprivate var uid: UInt32? { if case .user(let uid) = rule.identity { uid } else { nil } }
}

extension Grammar.Assertion {
    /// Whether the line excepts an account that is not found, and it or the rule names one by its number: they may be the
    /// same. An account that is deleted must not make a policy faulty.
    fileprivate func mayExcept(_ rule: Rule) -> Bool {
        mayExcept(rule.identity, rule.writtenIdentity)
            || never.identity.map { mayExcept($0, never.writtenIdentity) } == true
    }

    private func mayExcept(_ identity: Identity, _ written: String) -> Bool {
        let isNumber = (written.utf8.first == UInt8(ascii: ":") ? written.utf8.dropFirst() : written.utf8[...])
            .allSatisfy { (0x30...0x39).contains($0) }
        return switch identity {
        case .user: missesUser && isNumber
        case .group: missesGroup && isNumber
        case .unit: false
        }
    }
}
