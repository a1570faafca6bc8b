// keybroker policy show: lists each key, its file, who may have it, and the line that permits it; all of them, or those
// about a user, a unit or a key. Then it lists who may ask for the status.

internal import ArgumentParser
internal import Kernel
internal import Policy
internal import PolicyLoading
internal import PolicyReview
internal import Wire

struct PolicyShow: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Shows each key, its file, who may have it, and by which line.",
        discussion: """
            With --user, --unit and --key, only what is about these: what a user may have by itself or by its groups, \
            in any unit or in one; for a unit the lines that name it, with a user or whatever its user. Prints nothing \
            but its heading where that is nothing. Who may ask for the broker's status is listed at the end of the whole, with the right 'status'. \
            The right 'sign' is to have the key sign without getting it. \
            Exit status: 0, 64 where there is no such user or there can be no such unit, 78 where the policy is faulty.
            """)

    @Option(help: "Only what this user may have, a name or a uid.", completion: .users)
    var user: String?

    @Option(help: "Only what may be had in this systemd unit.", completion: .units)
    var unit: String?

    @Option(help: "Only this key.", completion: .keys)
    var key: String?

    @Option(help: "'text': a table; 'json': one object a line.")
    var format = TableFormat.text

    @OptionGroup var options: PolicyOptions

    func run() throws {
        let policy = try options.load().policy
        let subject = Subject(
            user: try user.map { user throws(ExitCode) in try lookedUp(user) },
            unit: try unit.map { unit throws(ExitCode) in try namedUnit(unit) },
            key: try key.map { key throws(ExitCode) in try namedKey(key) })
        if let key = subject.key, !policy.declares(key) { say("keybroker: \(policy.absence(of: key))") }
        let isWhole = user == nil && unit == nil && key == nil
        let ofStatus = isWhole ? policy.statusPermits.filter { !policy.isNobody($0.identity) } : []
        let about = policy.rules(about: subject)
        let hasRights = !ofStatus.isEmpty || about.contains { $0.right != .key }
        var table = Table(columns: ["key", "file", "permitted", "unit", "line"] + (hasRights ? ["right"] : []))
        func add(_ cells: [String?], right: String) { table.add(cells + (hasRights ? [right] : [])) }
        let rules = Dictionary(grouping: about, by: \.key)
        for key in policy.keys.values.sorted(by: { $0.name < $1.name }) {
            if rules[key.name] == nil, user == nil, unit == nil, subject.key.map({ $0 == key.name }) ?? true {
                add([key.name.description, key.source.description, nil, nil, key.location.description], right: "key")
            }
            for rule in rules[key.name] ?? [] {
                add(
                    [
                        key.name.description, key.source.description, rule.writtenIdentity, rule.unit?.description,
                        rule.location.description,
                    ], right: rule.uses?.right ?? "key")
            }
        }
        for permit in ofStatus {
            add([nil, nil, permit.writtenIdentity, nil, permit.location.description], right: "status")
        }
        for line in format == .json ? table.objects : table.lines { try output(line: line) }
    }
}
