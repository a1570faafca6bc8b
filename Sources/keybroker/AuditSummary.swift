// keybroker audit summary: an access review: who used which key, who was denied, and what nobody needs.

internal import ArgumentParser
internal import AuditReading
internal import Kernel
internal import LocalTime
internal import Policy
internal import PolicyLoading
internal import Wire

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
        var requests = Requests()
        while let record = try reader.nextRecord() {
            if selection.includes(record) { requests.add(record) }
        }
        let review = Review(requests)
        let kernel = OverflowIDs.ofThisKernel()
        let unused = current.map { requests.unused(of: $0.policy, unmapped: (kernel.uid, kernel.gid)) }
        let lines = format == .json ? objects(review, unused) : text(review, unused, requests)
        for line in lines { try output(line: line) }
        try reader.endOfLog()
    }

    /// Nil where there is none to be read and none was asked for: the log is worth summing up without it.
    private func currentPolicy() throws(ExitCode) -> LoadedPolicy? {
        if !policy.paths.isEmpty { return try policy.load() }
        if let loaded = PolicyOptions.loading([], warns: false).loaded { return loaded }
        StandardStream.error.writeLine(
            "keybroker: the policy cannot be read here (see keybroker policy check), so what nobody used is not told; "
                + "name one with --policy")
        return nil
    }

    private typealias Unused = (keys: [Key], rules: [Rule])

    private func objects(_ review: Review, _ unused: Unused?) -> [String] {
        var lines = review.uses.objects(kind: "use") + review.denials.objects(kind: "denial")
        if let unused {
            lines += Self.table(unused.keys).objects(kind: "unused-key")
            lines += Self.table(unused.rules).objects(kind: "unused-permit")
        }
        return lines
    }

    private func text(_ review: Review, _ unused: Unused?, _ requests: Requests) -> [String] {
        guard let first = requests.first, let last = requests.last else { return ["no records in that period"] }
        func local(_ time: String) -> String { WallTime(rfc3339: time)?.local ?? printable(time) }
        var lines = ["\(counted(requests.count, "request")), records from \(local(first)) to \(local(last))"]
        func add(_ heading: String, _ table: Table, ifEmpty: String) {
            lines += ["", table.isEmpty ? ifEmpty : heading] + (table.isEmpty ? [] : table.lines)
        }
        add("Keys, by who asked for them:", review.uses, ifEmpty: "Nobody asked for a key.")
        add("Denials, by caller:", review.denials, ifEmpty: "Nobody was denied.")
        if let unused {
            add("Keys that nobody got:", Self.table(unused.keys), ifEmpty: "Every key was used.")
            add("Permissions that nobody used:", Self.table(unused.rules), ifEmpty: "Every permission was used.")
        }
        return lines
    }

    private static func table(_ keys: [Key]) -> Table {
        var table = Table(columns: ["key", "file", "line"])
        for key in keys { table.add([key.name.description, key.source.description, key.place.description]) }
        return table
    }

    private static func table(_ rules: [Rule]) -> Table {
        var table = Table(columns: ["key", "permitted", "unit", "line"])
        for rule in rules {
            table.add([
                rule.key.description, rule.writtenIdentity, rule.unit?.description, rule.place.description,
            ])
        }
        return table
    }
}

/// The requests of a log as tables.
private struct Review {
    private(set) var uses = Table(
        columns: ["key", "user", "unit", "granted", "denied", "unavailable", "busy", "last-grant"],
        numbers: ["granted", "denied", "unavailable", "busy"])
    private(set) var denials = Table(columns: ["user", "unit", "key", "denied", "last", "reason"], numbers: ["denied"])

    /// A row: requests that differ in nothing that a reader of the table is told.
    private struct Row: Hashable {
        let key: String?
        let user: String
        let unit: String?
    }

    private struct Counts {
        var granted = 0, denied = 0, unavailable = 0, busy = 0
        var last = "", lastGrant = "", denial: String?
    }

    init(_ requests: Requests) {
        let names = Names()
        var rows: [Row: Counts] = [:]
        for (question, outcome) in requests.all {
            let row = Row(
                key: question.key, user: names.user(question.uid, logged: outcome.user), unit: question.unit)
            var counts = rows[row] ?? Counts()
            counts.granted += outcome.granted
            counts.denied += outcome.denied
            counts.unavailable += outcome.unavailable
            counts.busy += outcome.busy
            counts.last = max(counts.last, outcome.last)
            counts.lastGrant = max(counts.lastGrant, outcome.lastGrant ?? "")
            counts.denial = outcome.denial ?? counts.denial
            rows[row] = counts
        }
        func local(_ time: String) -> String? { time.isEmpty ? nil : WallTime(rfc3339: time)?.local ?? time }
        let sorted = rows.sorted {
            ($0.key.key ?? "", $0.key.user, $0.key.unit ?? "") < ($1.key.key ?? "", $1.key.user, $1.key.unit ?? "")
        }
        for (row, counts) in sorted where row.key != nil && counts.denial != "unknown-key" {
            let numbers = [counts.granted, counts.denied, counts.unavailable, counts.busy].map(String.init)
            uses.add([row.key, row.user, row.unit] + numbers + [local(counts.lastGrant)])
        }
        let refused = sorted.filter { $0.value.denied > 0 }.sorted { $0.key.user < $1.key.user }
        for (row, counts) in refused {
            denials.add([row.user, row.unit, row.key, String(counts.denied), local(counts.last), counts.denial])
        }
    }
}
