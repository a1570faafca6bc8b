// keybroker audit summary: an access review. It shows who used which key, who was denied, and what nobody uses.

internal import ArgumentParser
internal import AuditReading
internal import Kernel
internal import LocalTime
internal import PolicyLoading

struct AuditSummary: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "summary", abstract: "Sums up who got which key, who was denied, and what nobody used.",
        discussion: """
            Keys and permissions that nobody used in the period are those of the policy as it is now; a permission counts \
            as used where it would permit what was granted. Each record is verified; where the chain is broken that is \
            said, and the exit status is 74.
            """)

    @OptionGroup var period: PeriodOptions

    @Option(help: "'text': tables; 'json': one object a line, with its kind.")
    var format = TableFormat.text

    @OptionGroup var log: AuditOptions

    @OptionGroup var policy: PolicyOptions

    func run() throws {
        let (since, until) = try period.period()
        let selection = Selection(since: since, until: until)
        let current = try currentPolicy()
        var reader = LogReader(try log.files(), goesOn: true)
        let requests = try reader.requests(selection)
        let kernel = OverflowIDs.ofThisKernel()
        let unused = current.map { requests.unused(of: $0.policy, unmapped: (kernel.uid, kernel.gid)) }
        let review = Review(requests, unused)
        let lines = format == .json ? review.objects : review.text
        for line in lines { try output(line: line) }
        try reader.endOfLog()
    }

    /// The policy to compare with. Nil if none was named and the standard one cannot be read: the summary is still
    /// useful.
    private func currentPolicy() throws(ExitCode) -> LoadedPolicy? {
        if !policy.paths.isEmpty { return try policy.load() }
        if let loaded = PolicyOptions.loading([], warns: false).loaded { return loaded }
        say(
            "keybroker: the policy cannot be read here (see keybroker policy check), so what nobody used is not told; "
                + "name one with --policy")
        return nil
    }
}
