// keybroker audit show: prints the records of the log, the old ones and, if wanted, new ones as they come.

internal import ArgumentParser
internal import AuditReading
internal import Kernel
internal import Policy
internal import Wire
internal import FileReading

struct AuditShow: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Shows records of the log.",
        discussion: """
            Each record is verified before it is shown; where the chain is broken that is said, and the exit status is 74. \
            All filters must match. Times are local ones. A number that a caller was told ("decision 4711") is found \
            with --seq.
            """)

    enum Decision: String, ExpressibleByArgument, CaseIterable {
        case granted, denied, unavailable, busy, malformed, revoked, applied, rejected
    }

    @OptionGroup var subject: SubjectOptions

    @Option(help: "Only records of this decision.")
    var decision: Decision?

    @Option(help: ArgumentHelp("Only the record of this number, or those of a range: 12, 12-20.", valueName: "number"))
    var seq: String?

    @OptionGroup var period: PeriodOptions

    @Option(help: "'text': a table; 'json': the records as they are, one object a line.")
    var format = TableFormat.text

    @Option(
        name: [.customShort("n", allowingJoined: true), .long],
        help: ArgumentHelp("Only the last records, this many of those that match, or 'all'.", valueName: "number"))
    var lines: String?

    @Flag(help: "Wait for more records, over rotations too.")
    var follow = false

    @OptionGroup var pager: PagerOptions

    @OptionGroup var log: AuditOptions

    func run() throws {
        let user = try subject.wantedUser()
        let (since, until) = try period.period()
        let selection = Selection(
            key: try subject.keyName(), user: user, unit: try subject.pattern(), decision: decision?.rawValue,
            since: since, until: until, numbers: try numbers())
        let last = try count()
        let files = try log.files()
        // Whether there are colours is decided while standard output is still the terminal.
        var rows = RecordRows(format)
        guard follow else { return try pager.paged { try show(files, selection, user, last, &rows) } }
        try follow(files, selection, user, last, until, &rows)
    }

    private func show(
        _ files: LogFiles, _ selection: Selection, _ user: Selection.User?, _ last: Int?, _ rows: inout RecordRows
    ) throws(ExitCode) {
        var reader = LogReader(files, goesOn: true)
        var unknown = UnknownUser(user)
        try show(&reader, selection, &rows, &unknown, last)
        try unknown.mustBeInLog()
        try reader.endOfLog()
    }

    /// - Parameter end: the time after which there is nothing more to show, or nil if it goes on for ever.
    private func follow(
        _ files: LogFiles, _ selection: Selection, _ user: Selection.User?, _ last: Int?, _ end: WallTime?,
        _ rows: inout RecordRows
    ) throws(ExitCode) {
        var reader = LogReader(files, goesOn: true, follows: true)
        var unknown = UnknownUser(user)
        guard let file = files.paths.last else { return }
        // The watch begins before the file is read, so that no change between the two is missed.
        let watch = try watch(file)
        try show(&reader, selection, &rows, &unknown, last)
        try unknown.mustBeInLog()
        while true {
            // A record of the last moment may be written a little later.
            let left = end.map { Duration.seconds($0.seconds + 1 - WallTime.now.seconds) }
            if let left, left <= .zero { return }
            guard !reader.followedFileShrank() else {
                throw fail("\(file) was cut short while it was followed: records are missing", status: 74)
            }
            do throws(Failure) { try watch.wait(until: left.map { Instant.now.after($0) } ?? .never) } catch {
                throw fail(error.description, status: 71)
            }
            try show(&reader, selection, &rows, &unknown, nil)
        }
    }

    /// - Parameter last: how many of the records to show, or nil for all.
    private func show(
        _ reader: inout LogReader, _ selection: Selection, _ rows: inout RecordRows, _ unknown: inout UnknownUser,
        _ last: Int?
    ) throws(ExitCode) {
        var latest = Latest<LoggedRecord>(last ?? 0)
        while let record = try reader.nextRecord() {
            unknown.look(in: record)
            guard selection.includes(record) else { continue }
            if last == nil { try rows.add(record) } else { latest.add(record) }
        }
        for record in latest.all { try rows.add(record) }
        try rows.flush()
    }

    private func watch(_ file: String) throws(ExitCode) -> FolderWatch {
        do throws(Failure) {
            return try FolderWatch(folder(of: try absolutePath(file)))
        } catch { throw fail(error.description, status: 71) }
    }

    // MARK: The selection

    private func count() throws(ExitCode) -> Int? {
        guard let lines, lines != "all" else { return nil }
        guard let number = decimal(lines, as: UInt32.self) else {
            throw fail("-n: '\(lines)' is no number; write a number of records, or all", status: 64)
        }
        return Int(number)
    }

    private func numbers() throws(ExitCode) -> ClosedRange<UInt64>? {
        guard let seq else { return nil }
        let parts = seq.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        let numbers = parts.compactMap { decimal($0, as: UInt64.self) }
        guard numbers.count == parts.count, let first = numbers.first, let last = numbers.last, first <= last else {
            throw fail("--seq: '\(seq)' is no number and no range of numbers such as 12-20", status: 64)
        }
        return first...last
    }
}

/// The last elements of a sequence, at most `count` of them.
struct Latest<Element> {
    private let count: Int
    private var elements: [Element] = []
    private var oldest = 0

    init(_ count: Int) { self.count = count }

    mutating func add(_ element: Element) {
        if elements.count < count { return elements.append(element) }
        if count == 0 { return }
        elements[oldest] = element
        oldest = (oldest + 1) % count
    }

    /// The elements, oldest first.
    var all: [Element] { Array(elements[oldest...] + elements[..<oldest]) }
}
