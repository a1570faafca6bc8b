// keybroker policy explain: shows whether a user may have a key, or the status, and the lines that permit it or almost do;
// or what a user or a unit may have; or who may have a key.

internal import ArgumentParser
internal import Kernel
internal import Policy
internal import PolicyLoading
internal import PolicyReview
internal import Wire

struct PolicyExplain: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Tells who may have which key, and why.",
        discussion: """
            Asks as the daemon would for a process of that user, with the groups that the name service gives it now. \
            With --unit and --key it asks for the unit under any account, as the service manager does for \
            LoadCredential=. Without --key it tells what the user or the unit may have, and with --key alone who may \
            have the key. If one key is permitted, the files are shown that would be handed out now. Whether the caller \
            may have the key sign is told too; --sign asks for that alone. Exit status: 0 permitted, or somebody may have something; 77 not permitted, or nobody or nothing; 64 there is no such \
            user, or there can be no such unit; 78 the policy is faulty.
            """)

    @Option(help: "The user, a name or a uid.", completion: .users)
    var user: String?

    @Option(help: "The systemd unit that the process runs in.", completion: .units)
    var unit: String?

    @Option(help: "The key.", completion: .keys)
    var key: String?

    @Flag(help: "With --key: whether it may have the key sign, without getting it.")
    var sign = false

    @Flag(help: "Instead of a key: whether the caller may ask for the broker's status.")
    var status = false

    @Option(help: "'text': for people; 'json': one object for each line that permits; not with --status.")
    var format = TableFormat.text

    @OptionGroup var options: PolicyOptions

    func validate() throws {
        if user == nil, unit == nil, key == nil {
            throw ValidationError(
                "Say what it is about: --user USER, --unit UNIT, --key NAME, or more than one of them.")
        }
        if status, key != nil { throw ValidationError("Say what is asked for: --key NAME or --status.") }
        if sign, key == nil || user == nil && unit == nil {
            throw ValidationError(
                "Say who asks for signatures of which key: --key NAME with --user USER or --unit UNIT.")
        }
        if status, format == .json { throw ValidationError("--status has no --format json; leave one of them out.") }
    }

    func run() throws {
        let loaded = try options.load()
        let policy = loaded.policy
        let name = try key.map { key throws(ExitCode) in try namedKey(key) }
        let unit = try self.unit.map { unit throws(ExitCode) in try namedUnit(unit) }
        let caller = try user.map { user throws(ExitCode) in try lookedUp(user, unit: unit) }
        if status { return try explainStatus(policy, caller ?? Caller(unitAlone: unit ?? "")) }
        if let name, let asking = caller ?? unit.map(Caller.init(unitAlone:)) {
            let explanation = policy.explanation(of: name, sign ? .sign : .key, for: asking)
            let other = policy.explanation(of: name, sign ? .key : .sign, for: asking)
            return try explain(explanation, and: other, name, loaded.source.owners)
        }
        let subject = Subject(user: caller, unit: unit, key: name)
        try list(policy.rules(about: subject), of: name, policy)
    }

    private var who: String { [user, unit].compactMap(\.self).joined(separator: " in ") }

    // MARK: Everything about one of them

    private func list(_ rules: [Rule], of name: KeyName?, _ policy: Policy) throws(ExitCode) {
        guard !rules.isEmpty else {
            if let name {
                try denied(
                    policy.keys[name] == nil ? policy.absence(of: name) : "nobody may have \(name): no line permits it")
            }
            try denied("\(who) may have no key: no line permits one")
        }
        if format == .json { return try write(rules) }
        if let name {
            try output(line: "\(name) may be had by:")
        } else {
            try output(line: "\(who) may have:")
        }
        // Without a line about signatures the table is as it was before there were any.
        let hasRights = name != nil && rules.contains { $0.right != .key }
        var table = Table(
            columns: name == nil ? ["key", "in", "line", "by"] : ["who", "in", "line"] + (hasRights ? ["right"] : []))
        for rule in rules {
            // What is said already is not repeated in each row.
            let unit = user != nil && self.unit != nil ? nil : rule.namedUnit.map(\.description)
            let line = rule.location.description
            if name == nil {
                table.add([rule.key.description, unit ?? "any unit", line, rule.statement])
            } else {
                table.add(
                    [rule.writtenIdentity, unit ?? "any unit", line] + (hasRights ? [rule.uses?.right ?? "key"] : []))
            }
        }
        for line in table.lines { try output(line: "  " + line) }
    }

    private func write(_ rules: [Rule]) throws(ExitCode) {
        for rule in rules {
            var object = JSONObject()
            object.add("key", rule.key.description)
            object.add("permitted", rule.writtenIdentity)
            if let unit = rule.unit { object.add("unit", unit.description) }
            object.add("line", rule.location.description)
            if let uses = rule.uses { object.add("right", uses.right) }
            try output(line: object.text)
        }
    }

    /// Ends the program with the answer that it is not permitted. There is no object for that, so a program's person is
    /// told.
    private func denied(_ answer: String) throws(ExitCode) -> Never {
        if format == .json { throw fail("denied: \(answer)", status: 77) }
        try output(line: "denied: \(answer)")
        throw ExitCode(77)
    }

    // MARK: One caller and one key

    /// - Parameter other: the same about the other right. It is told too if it is permitted, unless only signatures are
    ///   asked about. The exit status goes by what is asked.
    private func explain(
        _ asked: Explanation, and other: Explanation, _ name: KeyName, _ owners: TrustedOwners
    ) throws(ExitCode) {
        let right: Right = sign ? .sign : .key
        if format == .json {
            try write(asked.permitting + (sign ? [] : other.permitting))
            if !asked.isPermitted { try denied(reason(asked, name)) }
        } else {
            if asked.isPermitted {
                try explainPermission(asked, right, name, owners)
            } else {
                try explainDenial(asked, name, mayHaveKey: sign && other.isPermitted)
            }
            if !sign, other.isPermitted { try explainPermission(other, .sign, name, owners) }
        }
        if !asked.isPermitted { throw ExitCode(77) }
    }

    private func explainPermission(
        _ explanation: Explanation, _ right: Right, _ name: KeyName, _ owners: TrustedOwners
    ) throws(ExitCode) {
        let what = right == .sign ? "have \(name) sign\(explanation.uses.clause)" : "have \(name)"
        try output(line: "permitted: \(who) may \(what)")
        for rule in explanation.permitting { try output(line: "  \(rule.location): \(rule.statement)") }
        guard let key = explanation.key else { return }
        for line in HandedOutNow.lines(key, owners, hidden: PolicyOptions.hidden(options.paths), right) {
            try output(line: line)
        }
    }

    private func reason(_ explanation: Explanation, _ name: KeyName) -> String {
        guard explanation.key == nil else { return "no line permits \(sign ? "signatures of " : "")\(name) to \(who)" }
        return "there is no key '\(name)'" + (explanation.likelyMeant.map { "; did you mean '\($0)'?" } ?? "")
    }

    private func explainDenial(_ explanation: Explanation, _ name: KeyName, mayHaveKey: Bool) throws(ExitCode) {
        guard explanation.key != nil else { try denied(reason(explanation, name)) }
        try output(line: "denied: \(reason(explanation, name))")
        if mayHaveKey { try output(line: "  it may have the key itself, which does not include this") }
        for miss in explanation.misses.prefix(Self.mostMisses) {
            try output(line: "  \(miss.rule.location): \(miss.rule.statement)")
            try output(line: "      \(words(for: miss))")
        }
        let rest = explanation.misses.count - Self.mostMisses
        if rest > 0 { try output(line: "  and \(counted(rest, "line")) more about that key") }
        for never in explanation.excluding.prefix(Self.mostMisses) {
            try output(line: "  \(never.location): \(never.statement)")
            // A user that is asked about without a unit may run in any.
            let units = unit == nil ? never.exceptedUnits.joined(separator: " or ") : ""
            try output(line: "      so no line can permit it\(units.isEmpty ? "" : ", except in \(units)")")
        }
    }

    private func explainStatus(_ policy: Policy, _ caller: Caller) throws(ExitCode) {
        switch policy.statusAnswer(for: caller, daemon: PolicyOptions.uidOfDaemon) {
        case .permitted(let permit):
            try output(line: "permitted: \(who) may ask for the status")
            return try output(line: "  \(permit.location): \(permit.statement)")
        case .root: return try output(line: "permitted: root may ask for the status")
        case .ownAccount: return try output(line: "permitted: the daemon runs as \(who), which may ask for the status")
        case .denied: try output(line: "denied: no line permits the status to \(who)")
        }
        for permit in policy.statusPermits.prefix(Self.mostMisses) {
            try output(line: "  \(permit.location): \(permit.statement)")
        }
        throw ExitCode(77)
    }

    /// How many lines that do not match are shown. More would not help if very many users may have a key.
    private static let mostMisses = 20

    private func words(for miss: Explanation.Miss) -> String {
        let user = user ?? ""
        let unit = miss.rule.namedUnit.map(\.description)
        if miss.isAboutNobody, miss.mismatch != .nobody {
            return "about nobody: the kernel shows that number for all that it cannot express, so it is never permitted"
        }
        return switch miss.mismatch {
        case .nobody: "\(user) is the kernel's overflow uid, which no line permits"
        case .anotherUser: "another user than \(user)"
        case .notInGroup: "\(user) is not in the group \(miss.rule.writtenIdentity.dropFirst())"
        case .unitAlone: "only for a user or a group; name a user with --user"
        case .unit(nil): "only in \(unit ?? "a unit"); name one with --unit"
        case .unit(let actual?): "the unit is \(actual), not \(unit ?? "that")"
        }
    }
}
