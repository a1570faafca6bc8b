// keybroker audit: the commands that read the log, without the daemon. This file has what they share.
//
// Must never show a record as good if it did not verify. Must never print text from outside without escaping it.

internal import ArgumentParser
internal import AuditReading
internal import Kernel
internal import Policy
internal import Wire
internal import NameLookup

struct AuditCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "Reads the audit log.",
        discussion: """
            None of these needs a running daemon, or a privilege beyond reading the files. Without --audit it is the \
            daemon's log; for a user with a broker of its own, that one's.
            """,
        subcommands: [AuditShow.self, AuditSummary.self, AuditVerify.self])
}

/// Which log to read.
struct AuditOptions: ParsableArguments {
    @Option(
        name: .customLong("audit"),
        help: ArgumentHelp(
            "A file of the log, plain or gzip; may be repeated (default: the daemon's, with those rotated away from it).",
            valueName: "path"),
        completion: .file())
    var logs: [String] = []

    /// The files, oldest first. Ends the program if they cannot be read.
    func files(_ others: [String] = []) throws(ExitCode) -> LogFiles {
        let given = logs + others
        do throws(Failure) {
            guard given.isEmpty else { return try LogFiles(named: given) }
            StandardFiles.say("the log", StandardFiles.log)
            let files = try LogFiles(of: StandardFiles.log)
            for name in files.unreadable {
                say(
                    "keybroker: \(name) is compressed in a way that is not read here: decompress it, "
                        + "and name all files")
            }
            return files
        } catch {
            let advice = error.code == Failure.permissionDenied ? ReadersOfLog.advice(on: error.subject ?? "") : nil
            throw fail(([error.description] + [advice].compactMap(\.self)).joined(separator: "; "), status: 74)
        }
    }
}

/// The period of time that is asked for.
struct PeriodOptions: ParsableArguments {
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Only records from then on: \(Moment.forms).", valueName: "time"))
    var since: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Only records before then; with a day, to its end.", valueName: "time"))
    var until: String?

    /// The two moments. Ends the program if one cannot be understood.
    func period() throws(ExitCode) -> (since: WallTime?, until: WallTime?) {
        let now = WallTime.now
        return (try moment(since, "--since", now)?.begin, try moment(until, "--until", now)?.end)
    }

    private func moment(_ text: String?, _ option: String, _ now: WallTime) throws(ExitCode) -> Moment? {
        guard let text else { return nil }
        guard let moment = Moment(text, now: now) else {
            throw fail("\(option): '\(text)' is no time; write \(Moment.forms)", status: 64)
        }
        return moment
    }
}

extension LogReader {
    /// The next record of the log. A fault of the log is reported once, at its place. Reading continues after it, and
    /// `endOfLog` ends the program at the end.
    mutating func nextRecord() throws(ExitCode) -> LoggedRecord? {
        let hadFault = fault != nil
        let record: LoggedRecord?
        do throws(Unverified) { record = try next() } catch { throw fail(error.description, status: 74) }
        if !hadFault, let fault {
            say(
                "keybroker: \(fault.description); from here on nothing is verified")
        }
        return record
    }

    /// The requests in all remaining records that `selection` wants.
    /// - Parameter look: is shown each record, wanted or not.
    mutating func requests(
        _ selection: Selection, showing look: (LoggedRecord) -> Void = { _ in }
    ) throws(ExitCode) -> Requests {
        var requests = Requests()
        while let record = try nextRecord() {
            look(record)
            if selection.includes(record) { requests.add(record) }
        }
        return requests
    }

    /// Ends the program if the log is damaged, or was not read in whole.
    borrowing func endOfLog() throws(ExitCode) {
        if fault != nil || isPartial { throw ExitCode(74) }
    }
}

/// Names for uids, as this machine knows them now. Each is looked up once.
final class Names {
    private var known: [UInt32: String?] = [:]

    /// `www-data(33)`. The name in the log has priority, because it was valid at that time.
    func user(_ uid: UInt32, logged: String?) -> String {
        (logged ?? name(uid)).map { "\($0)(\(uid))" } ?? String(uid)
    }

    private func name(_ uid: UInt32) -> String? {
        if let name = known[uid] { return name }
        let name = (try? Accounts.user(numbered: uid))?.name
        known[uid] = .some(name)
        return name
    }
}
