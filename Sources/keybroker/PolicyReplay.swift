// keybroker policy replay: what really happened, decided anew under another policy.

internal import ArgumentParser
internal import AuditReading
internal import Kernel
internal import LocalTime
internal import Policy
internal import PolicyLoading
internal import Wire

struct PolicyReplay: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay", abstract: "Decides the logged requests anew under another policy.",
        discussion: """
            Lists the requests of the audit log that would come out otherwise: which callers, last seen when, would lose \
            or gain which key. Prints nothing but its heading where nothing would change. What was busy was not decided, \
            and is left out; refusals that were counted instead of recorded cannot be decided. Exit status: 0, 78 where \
            the policy is faulty, 74 where the log is not as it was written.
            """)

    @Option(
        name: .customLong("policy"),
        help: ArgumentHelp(
            "The other policy: a file, or a directory of *.policy files; may be repeated.", valueName: "path"),
        completion: .file())
    var paths: [String]

    @OptionGroup var period: PeriodOptions

    @Option(help: "'text': a table; 'json': one object a line.")
    var format = TableFormat.text

    @OptionGroup var log: AuditOptions

    func run() throws {
        let policy = try PolicyOptions.load(paths).policy
        let (since, until) = try period.period()
        let selection = Selection(since: since, until: until)
        var reader = LogReader(try log.files(), goesOn: true)
        var requests = Requests()
        while let record = try reader.nextRecord() {
            if selection.includes(record) { requests.add(record) }
        }
        let kernel = OverflowIDs.ofThisKernel()
        let names = Names()
        var table = Table(
            columns: ["change", "key", "user", "unit", "requests", "last", "line"], numbers: ["requests"])
        let changes = requests.changes(under: policy, unmapped: (kernel.uid, kernel.gid))
        let rows = changes.map { change in
            (
                change,
                [
                    change.isGain ? "gains" : "loses", change.question.key,
                    names.user(change.question.uid, logged: change.outcome.user), change.question.unit,
                    String(change.requests), WallTime(rfc3339: change.outcome.last)?.local ?? change.outcome.last,
                    change.rule?.place.description ?? change.outcome.rule,
                ]
            )
        }
        // What is lost comes first: it is what breaks a service.
        let sorted = rows.sorted { left, right in
            let order = (left.0.isGain ? 1 : 0, right.0.isGain ? 1 : 0)
            return order.0 != order.1
                ? order.0 < order.1
                : left.1.map { $0 ?? "" }.lexicographicallyPrecedes(right.1.map { $0 ?? "" })
        }
        for row in sorted { table.add(row.1) }
        for line in format == .json ? table.objects : table.lines { try output(line: line) }
        try reader.endOfLog()
    }
}
