// keybroker audit show: prints the records of the log, the old ones and, if wanted, new ones as they come.

internal import ArgumentParser
internal import AuditReading
internal import Kernel
internal import Policy
internal import Wire
internal import FileReading
internal import NameLookup

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

    @Option(help: "Only records about this key.")
    var key: String?

    @Option(help: "Only records of this user, a name or a uid.")
    var user: String?

    @Option(help: "Only records of this systemd unit; * stands for any part of it.")
    var unit: String?

    @Option(help: "Only records of this decision.")
    var decision: Decision?

    @Option(help: ArgumentHelp("Only the record of this number, or those of a range: 12, 12-20.", valueName: "number"))
    var seq: String?

    @OptionGroup var period: PeriodOptions

    @Option(help: "'text': a table; 'json': the records as they are, one object a line.")
    var format = TableFormat.text

    @Flag(help: "Wait for more records, over rotations too.")
    var follow = false

    @OptionGroup var log: AuditOptions

    func run() throws {
        let selection = try selection()
        let files = try log.files()
        var reader = LogReader(files, goesOn: true, follows: follow)
        var rows = RecordRows(format)
        guard follow, let last = files.last else {
            try show(&reader, selection, &rows)
            return try reader.endOfLog()
        }
        // The watch begins before the file is read, so that no change between the two is missed.
        let watch = try watch(last)
        while true {
            try show(&reader, selection, &rows)
            guard !reader.followedFileShrank() else {
                throw fail("\(last) was cut short while it was followed: records are missing", status: 74)
            }
            do throws(Failure) { try watch.wait() } catch { throw fail(error.description, status: 71) }
        }
    }

    private func show(_ reader: inout LogReader, _ selection: Selection, _ rows: inout RecordRows) throws(ExitCode) {
        while let record = try reader.nextRecord() {
            if selection.includes(record) { try rows.add(record) }
        }
        try rows.flush()
    }

    private func watch(_ file: String) throws(ExitCode) -> FolderWatch {
        do throws(Failure) {
            return try FolderWatch(folder(of: try absolutePath(file)))
        } catch { throw fail(error.description, status: 71) }
    }

    // MARK: The selection

    private func selection() throws(ExitCode) -> Selection {
        let (since, until) = try period.period()
        return Selection(
            key: try keyName(), user: try wantedUser(), unit: try pattern(), decision: decision?.rawValue, since: since,
            until: until, numbers: try numbers())
    }

    private func keyName() throws(ExitCode) -> String? {
        guard let key else { return nil }
        if let fault = KeyName.fault(in: Array(key.utf8)[...]) { throw fail("--key: \(fault)", status: 64) }
        return key
    }

    private func wantedUser() throws(ExitCode) -> Selection.User? {
        guard let user else { return nil }
        if let uid = decimal(user, as: UInt32.self) {
            return Selection.User(uid: uid, name: nil)
        }
        let account: Account?
        do throws(Failure) { account = try Accounts.user(named: user) } catch {
            throw fail("the user cannot be looked up: \(error)", status: 71)
        }
        // An account that no longer exists on this machine can still be in the log.
        return Selection.User(uid: account?.uid, name: user)
    }

    private func pattern() throws(ExitCode) -> UnitPattern? {
        guard let unit else { return nil }
        let bytes = Array(unit.utf8)
        guard let pattern = UnitPattern(bytes) else {
            throw fail("--unit: \(UnitPattern.fault(in: bytes) ?? "not a unit's name")", status: 64)
        }
        return pattern
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
