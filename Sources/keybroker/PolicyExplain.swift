// keybroker policy explain: shows whether a user may have a key, and the lines that permit it or almost do.

internal import ArgumentParser
internal import Kernel
internal import Policy
internal import PolicyLoading
internal import PolicyReview
internal import Wire

struct PolicyExplain: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Tells whether a user or a unit may have a key, and why.",
        discussion: """
            Asks as the daemon would for a process of that user, with the groups that the name service gives it now. \
            With --unit alone it asks for the unit under any account, as the service manager does for LoadCredential=. \
            Exit status: 0 permitted, 77 not permitted, 78 the policy is faulty.
            """)

    @Option(help: "The user, a name or a uid.")
    var user: String?

    @Option(help: "The systemd unit that the process runs in.")
    var unit: String?

    @Option(help: "The key.")
    var key: String

    @OptionGroup var options: PolicyOptions

    func validate() throws {
        if user == nil, unit == nil { throw ValidationError("Say who asks: --user USER, --unit UNIT, or both.") }
    }

    func run() throws {
        let policy = try options.load().policy
        guard let name = KeyName(key) else {
            throw fail("--key: \(KeyName.fault(in: Array(key.utf8)[...]) ?? "not a key name")", status: 64)
        }
        let explanation = policy.explanation(of: name, for: try asking())
        let who = [user, unit].compactMap(\.self).joined(separator: " in ")
        if explanation.isPermitted {
            try output(line: "permitted: \(who) may have \(name)")
            for rule in explanation.permitting { try output(line: "  \(rule.location): \(rule.statement)") }
            return
        }
        guard explanation.key != nil else {
            let hint = explanation.likelyMeant.map { "; did you mean '\($0)'?" } ?? ""
            try output(line: "denied: there is no key '\(name)'\(hint)")
            throw ExitCode(77)
        }
        try output(line: "denied: no line permits \(name) to \(who)")
        for miss in explanation.misses.prefix(Self.mostMisses) {
            try output(line: "  \(miss.rule.location): \(miss.rule.statement)")
            try output(line: "      \(words(for: miss))")
        }
        let rest = explanation.misses.count - Self.mostMisses
        if rest > 0 { try output(line: "  and \(counted(rest, "line")) more about that key") }
        throw ExitCode(77)
    }

    private func asking() throws(ExitCode) -> Caller {
        // One of the two is there: `validate` has made sure.
        guard let user else { return Caller(unitAlone: unit ?? "") }
        do throws(Failure) {
            if let caller = try caller(user, unit: unit) { return caller }
        } catch { throw fail("the user cannot be looked up: \(error)", status: 71) }
        throw fail("there is no user of that name or number", status: 64)
    }

    /// How many lines that do not match are shown. More would not help if very many users may have a key.
    private static let mostMisses = 20

    private func words(for miss: Explanation.Miss) -> String {
        let user = user ?? ""
        let unit = miss.rule.namedUnit.map(\.description)
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
