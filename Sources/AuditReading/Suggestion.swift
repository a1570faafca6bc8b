// The smallest policy that explains a log: it permits again all that was permitted then, and as little else as a policy
// can say.
//
// Must never permit by a group: that would permit others too. Must never leave out a request without saying so.

internal import Policy
package import Wire

/// The permissions that a log shows to be used.
package struct Suggestion: Sendable {
    /// Whom a line is about.
    package enum Who: Hashable, Sendable {
        /// A user, everywhere or in one unit.
        case user(UInt32, unit: String?)
        /// A unit, whatever the user.
        case unit(String)
    }

    /// The keys of each line, sorted. There is one line for each.
    package private(set) var permits: [Who: Set<KeyName>] = [:]
    /// The keys that somebody may have sign, and what. There is one line for keys that sign the same.
    package private(set) var signing: [Who: [KeyName: SigningUses]] = [:]
    /// Who asked for the status, as a line permitted it. An administrator needs no line.
    package private(set) var statusPermits: Set<Who> = []
    /// The names that the log has for users.
    package private(set) var userNames: [UInt32: String] = [:]
    /// Requests that no line could permit, as they are not written in the form of a policy.
    package private(set) var unsayable: [Requests.Question] = []

    package var keys: Set<KeyName> {
        permits.values.reduce(into: Set(signing.values.flatMap(\.keys))) { $0.formUnion($1) }
    }

    /// The uids that systemd gives to units with `DynamicUser=` (systemd.exec(5)). Each start may bring another one.
    private static let dynamic: ClosedRange<UInt32> = 61_184...65_519

    /// - Parameter unmapped: the ids that the kernel shows for all ids that it cannot express. No line permits them.
    package init(_ requests: Requests, unmapped: (uid: UInt32, gid: UInt32)) {
        for (question, outcome) in requests.all {
            if let name = outcome.user { userNames[question.uid] = name }
        }
        var uses: [Use] = []
        var signingUses: [Use: SigningUses] = [:]
        var statusUses: [StatusUse] = []
        for (question, outcome) in requests.all where outcome.permitted > 0 && question.asksForStatus {
            guard outcome.rule != nil else { continue }
            let unit = question.unit.map(Self.lasting)
            guard question.uid != unmapped.uid, question.uid != .max, unit.map(Self.isSayable) ?? true else {
                unsayable.append(question)
                continue
            }
            statusUses.append(StatusUse(question: question, unit: unit))
        }
        permitStatus(statusUses)
        for (question, outcome) in requests.all
        where outcome.permitted > 0 && (question.asksForKey || question.asksForSignatures) {
            // A folded record names no key, and none of a key is folded.
            guard let text = question.key else { continue }
            let unit = question.unit.map(Self.lasting)
            guard let key = KeyName(text), unit.map(Self.isSayable) ?? !question.isForUnit,
                question.isForUnit || question.uid != unmapped.uid && question.uid != .max
            else {
                unsayable.append(question)
                continue
            }
            if question.isForUnit {
                if let unit { permits[.unit(unit), default: []].insert(key) }
                continue
            }
            // Another service may have that uid at its next start.
            guard unit != nil || !isDynamic(question.uid) else {
                unsayable.append(question)
                continue
            }
            let use = Use(uid: question.uid, unit: unit, key: key)
            if question.asksForSignatures {
                signingUses[use, default: []].formUnion(
                    outcome.channels.permitted.keys.reduce(into: []) { $0.formUnion($1) })
            } else {
                uses.append(use)
            }
        }
        permitSigning(signingUses)
        // The widest lines first, so that none is added that another makes useless.
        for use in uses where use.unit == nil { permits[.user(use.uid, unit: nil), default: []].insert(use.key) }
        for use in uses where isDynamic(use.uid, use.unit) {
            guard let unit = use.unit, !has(.user(use.uid, unit: nil), use.key) else { continue }
            permits[.unit(unit), default: []].insert(use.key)
        }
        for use in uses {
            guard let unit = use.unit, !has(.user(use.uid, unit: nil), use.key), !has(.unit(unit), use.key) else {
                continue
            }
            permits[.user(use.uid, unit: unit), default: []].insert(use.key)
        }
    }

    /// Whether the uid is one that a unit has as long as it runs. A person may have such a number, too, but then has a name in
    /// the log, or comes from a login.
    private func isDynamic(_ uid: UInt32, _ unit: String? = nil) -> Bool {
        guard Self.dynamic.contains(uid), userNames[uid] == nil else { return false }
        guard let unit else { return true }
        return !unit.hasPrefix("session-") && !unit.hasPrefix("user@")
    }

    private func has(_ who: Who, _ key: KeyName) -> Bool { permits[who]?.contains(key) == true }

    /// The same for signatures: a line permits what no wider line does.
    private mutating func permitSigning(_ wanted: [Use: SigningUses]) {
        // If the log does not say for what, any permission does. So these come after the others.
        let uses = wanted.sorted { !$0.value.isEmpty && $1.value.isEmpty }
        func permit(_ who: Who, _ use: Use, _ wanted: SigningUses, besides wider: [Who]) {
            let given = (wider + [who]).reduce(into: SigningUses()) { $0.formUnion(signing[$1]?[use.key] ?? []) }
            if given.covers(wanted) { return }
            signing[who, default: [:]][use.key, default: []].formUnion(
                wanted.isEmpty || wanted.contains(.anything) ? .anything : wanted.subtracting(given))
        }
        for (use, wanted) in uses where use.unit == nil { permit(.user(use.uid, unit: nil), use, wanted, besides: []) }
        for (use, wanted) in uses where isDynamic(use.uid, use.unit) {
            guard let unit = use.unit else { continue }
            permit(.unit(unit), use, wanted, besides: [.user(use.uid, unit: nil)])
        }
        for (use, wanted) in uses where !isDynamic(use.uid, use.unit) {
            guard let unit = use.unit else { continue }
            permit(.user(use.uid, unit: unit), use, wanted, besides: [.user(use.uid, unit: nil), .unit(unit)])
        }
    }

    /// A line about the status names a user or a unit, and never both.
    private mutating func permitStatus(_ uses: [StatusUse]) {
        func isKnown(_ use: StatusUse) -> Bool {
            statusPermits.contains(.user(use.uid, unit: nil))
                || use.unit.map { statusPermits.contains(.unit($0)) } == true
        }
        // The log does not say of a folded query where the caller ran. It is left for the end, as the line for another
        // query of the same caller permits it too.
        let whole = uses.filter { !$0.isFolded }
        // Those whom no line about a unit can permit, then the units, then those who are in none of these.
        for use in whole where use.unit == nil || Self.dynamic.contains(use.uid) {
            if !isDynamic(use.uid, use.unit) { statusPermits.insert(.user(use.uid, unit: nil)) }
        }
        for use in whole where isDynamic(use.uid, use.unit) && !isKnown(use) {
            if let unit = use.unit { statusPermits.insert(.unit(unit)) } else { unsayable.append(use.question) }
        }
        for use in whole where !isDynamic(use.uid, use.unit) && !isKnown(use) {
            statusPermits.insert(.user(use.uid, unit: nil))
        }
        let known = Set(whole.map(\.uid))
        for use in uses where use.isFolded && !known.contains(use.uid) {
            if isDynamic(use.uid) {
                unsayable.append(use.question)
            } else {
                statusPermits.insert(.user(use.uid, unit: nil))
            }
        }
    }

    /// Whether a policy can name the unit.
    private static func isSayable(_ unit: String) -> Bool { UnitPattern(Array(unit.utf8)) != nil }

    /// The unit's name, or a pattern if the name is another at each login: `session-3.scope`.
    private static func lasting(_ unit: String) -> String {
        let isSession = unit.hasPrefix("session-") && unit.hasSuffix(".scope")
        return isSession ? "session-*.scope" : unit
    }

    /// The `permit` lines, in order; those about the status come last.
    /// - Parameter user: how a uid is written.
    package func lines(user: (UInt32) -> String) -> [String] {
        func written(_ who: Who) -> String {
            switch who {
            case .user(let uid, let unit): user(uid) + (unit.map { " unit \($0)" } ?? "")
            case .unit(let unit): Identity.unitPrefix + unit
            }
        }
        let named = permits.map { (written($0), $1) }.sorted { $0.0 < $1.0 }
        let ofSigning = signing.map { (written($0), $1) }.sorted { $0.0 < $1.0 }
        let ofStatus = statusPermits.map { "permit \(written($0)) status" }.sorted()
        return named.flatMap { Self.lines("permit \($0) \(Right.key.rawValue)", $1) }
            + ofSigning.flatMap { who, keys in
                let clauses = Dictionary(grouping: keys, by: \.value.clause).sorted { $0.key < $1.key }
                return clauses.flatMap { clause, keys in
                    Self.lines("permit \(who) \(Right.sign.rawValue)", keys.map(\.key), clause)
                }
            } + ofStatus
    }

    /// As many lines with these keys as are needed, so that none is too long.
    private static func lines(_ begin: String, _ keys: some Sequence<KeyName>, _ clause: String = "") -> [String] {
        var lines: [String] = []
        for key in keys.sorted() {
            let length = (lines.last?.utf8.count ?? 0) + key.description.utf8.count + clause.utf8.count
            if let last = lines.last, length < Limits.policyLineBytes {
                lines[lines.count - 1] = "\(last) \(key)"
            } else {
                lines.append("\(begin) \(key)")
            }
        }
        return lines.map { $0 + clause }
    }
}

/// A key that somebody was permitted.
private struct Use: Hashable {
    let uid: UInt32
    let unit: String?
    let key: KeyName
}

/// A query of the status that a line permitted.
private struct StatusUse {
    let question: Requests.Question
    let unit: String?

    var uid: UInt32 { question.uid }
    /// Whether it is a number of queries that were counted: the log has nothing of the caller but its uid.
    var isFolded: Bool { question.gid == nil }
}

/// The files of the keys that a log names: for each key those of the last grant.
package struct KeyFiles: Sendable {
    package private(set) var files: [String: (key: String, certificate: String?)] = [:]

    package init() {}

    package mutating func add(_ record: LoggedRecord) {
        guard let key = record.text(.key), let file = record.path(.file) else { return }
        files[key] = (file, record.path(.certificate))
    }
}

extension LoggedRecord {
    /// Whether it has a number of queries of the status by callers of a group or a unit that are not named.
    package var isOfStatusCrowd: Bool {
        self[.uid] == nil && says(.verb, Self.status) && says(.decision, Self.granted)
    }
    private static let status = Array("status".utf8), granted = Array("granted".utf8)

    private static let pathBegin = Array(#"{"path":"#.utf8)

    /// The path of a file that was handed out, as it can stand in a policy. Nil if there is none, or it cannot.
    fileprivate func path(_ field: Field) -> String? {
        guard let value = self[field], value.starts(with: Self.pathBegin) else { return nil }
        let begin = value.startIndex + Self.pathBegin.count
        guard let end = JSONForm.endOfText(line.span, begin, value.endIndex) else { return nil }
        let path = JSONForm.unescaped(line[(begin + 1)..<(end - 1)])
        let isWord = path.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "#") }
        return isWord && path.hasPrefix("/") && !path.hasSuffix("/") ? path : nil
    }
}
