// keybroker policy replay: decides the requests of the log again, under another policy.

internal import ArgumentParser
internal import AuditReading
internal import Kernel
internal import LocalTime
internal import PolicyLoading

struct PolicyReplay: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay", abstract: "Decides the logged requests anew under another policy.",
        discussion: """
            Lists the requests of the audit log that would come out otherwise: which callers, last seen when, would lose \
            or gain which key, or its signatures. Prints nothing but its heading where nothing would change. What was busy was not decided, \
            and is left out; refusals that were counted instead of recorded cannot be decided. Requests that a group \
            would permit which the policy of their time did not name are told at the end: the log does not say whether \
            the caller was in it. Exit status: 0, 78 where the policy is faulty, 74 where the log is not as it was \
            written.
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
        let loaded = try PolicyOptions.load(paths)
        let (since, until) = try period.period()
        let selection = Selection(since: since, until: until)
        var reader = LogReader(try log.files(), goesOn: true)
        let requests = try reader.requests(selection)
        let kernel = OverflowIDs.ofThisKernel()
        let table = ReplayTable(
            requests, under: loaded.policy, digest: loaded.digest, unmapped: (kernel.uid, kernel.gid))
        for line in format == .json ? table.objects : table.lines { try output(line: line) }
        try reader.endOfLog()
    }
}
