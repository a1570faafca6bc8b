// keybroker audit summary: an access review. It shows who used which key, who was denied, and what nobody uses.

internal import ArgumentParser
internal import AuditReading
internal import Kernel
internal import LocalTime
internal import Policy
internal import PolicyLoading
internal import PolicyReview
internal import Wire

struct AuditSummary: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "summary", abstract: "Sums up who got which key, who was denied, and what nobody used.",
        discussion: """
            With --key, --user and --unit it is about these alone. \
            Keys and permissions that nobody used in the period are those of the policy as it is now; a permission counts \
            as used where it would permit what was granted. Each record is verified; where the chain is broken that is \
            said, and the exit status is 74.
            """)

    @OptionGroup var subject: SubjectOptions

    @OptionGroup var period: PeriodOptions

    @Option(help: "'text': tables; 'json': one object a line, with its kind.")
    var format = TableFormat.text

    @OptionGroup var pager: PagerOptions

    @OptionGroup var log: AuditOptions

    @OptionGroup var policy: PolicyOptions

    func run() throws {
        let (since, until) = try period.period()
        let user = try subject.wantedUser()
        let selection = Selection(
            key: try subject.keyName(), user: user, unit: try subject.pattern(), since: since, until: until)
        let current = try currentPolicy()
        var reader = LogReader(try log.files(), goesOn: true)
        var unknown = UnknownUser(user)
        let requests = try reader.requests(selection) { unknown.look(in: $0) }
        try unknown.mustBeInLog()
        let review = Review(requests, try current.flatMap { policy throws(ExitCode) in try unused(requests, policy) })
        let lines = format == .json ? review.objects : review.text
        try pager.paged { for line in lines { try output(line: line) } }
        try reader.endOfLog()
    }

    /// What nobody used of that which is asked about. The keys are left out if it is not about all callers. Nil if a
    /// pattern of units was given, as that is no caller.
    private func unused(_ requests: Requests, _ current: LoadedPolicy) throws(ExitCode) -> Review.Unused? {
        let kernel = OverflowIDs.ofThisKernel()
        let unused = requests.unused(of: current.policy, unmapped: (kernel.uid, kernel.gid))
        let ofStatus = requests.unusedStatusPermits(of: current.policy, unmapped: (kernel.uid, kernel.gid))
        if subject.isEmpty { return (unused.keys, unused.rules, ofStatus) }
        if try subject.pattern()?.hasStar == true { return nil }
        // The log may know a user who has no account any more. No rule is about one.
        let user = try subject.user.flatMap { user throws(ExitCode) in try lookedUpIfThere(user) }
        if subject.user != nil, user == nil { return nil }
        let asked = Subject(user: user, unit: subject.unit, key: subject.key.flatMap { KeyName($0) })
        let isAboutKey = subject.user == nil && subject.unit == nil
        return (
            isAboutKey ? unused.keys.filter { $0.name == asked.key } : nil, unused.rules.filter(asked.fits),
            ofStatus.filter(asked.fits)
        )
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
