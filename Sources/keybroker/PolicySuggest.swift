// keybroker policy suggest: writes the smallest policy that explains the log.
//
// Must never end with status 0 if what it wrote permits less than what was permitted.

internal import ArgumentParser
internal import AuditReading
internal import Kernel
internal import LocalTime
internal import NameLookup
internal import Policy
internal import PolicyLoading
internal import Wire

struct PolicySuggest: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "suggest", abstract: "Writes the smallest policy under which all would be granted again.",
        discussion: """
            Each line permits a key to a user in a unit, as the log has it, or to a unit alone where the service manager \
            asked or the user is one of DynamicUser=; and signatures of a key, for what it signed. Queries of the status that a line permitted are permitted again, \
            too. The files of the keys are those of the policy in force, or else of \
            the records. What was permitted counts, even if the key could not be opened then. Limits are not \
            suggested. Compare it with policy diff and policy replay. Exit status: 0, 74 where the log is not as it \
            was written, 78 where something could not be written as a line of a policy.
            """)

    @OptionGroup var period: PeriodOptions

    @OptionGroup var log: AuditOptions

    @OptionGroup var policy: PolicyOptions

    func run() throws {
        let (since, until) = try period.period()
        let selection = Selection(since: since, until: until)
        let current = policy.paths.isEmpty ? PolicyOptions.loading([], warns: false).loaded : try policy.load()
        if current == nil {
            say(
                "keybroker: the policy cannot be read here (see keybroker policy check), so the files of the keys are those "
                    + "of the records; name one with --policy")
        }
        var reader = LogReader(try log.files(), goesOn: true)
        var files = KeyFiles()
        var hasCrowd = false
        let requests = try reader.requests(selection) { record in
            guard selection.includes(record) else { return }
            files.add(record)
            if record.isOfStatusCrowd { hasCrowd = true }
        }
        let kernel = OverflowIDs.ofThisKernel()
        let suggestion = Suggestion(requests, unmapped: (kernel.uid, kernel.gid))
        let unknown = try write(suggestion, requests, files, current?.policy)
        for question in suggestion.unsayable {
            let what = question.key ?? (question.asksForStatus ? "the status" : "a key")
            say("keybroker: no line can permit \(what) to uid \(question.uid) again")
        }
        if hasCrowd {
            say(
                "keybroker: some who asked for the status are only counted in the log, and not named: add the lines about "
                    + "groups and units that permit it, which 'keybroker policy show' lists last")
        }
        for name in unknown {
            say("keybroker: the file of key '\(name)' is in no policy and in no record; write it into the line")
        }
        try reader.endOfLog()
        if !suggestion.unsayable.isEmpty || !unknown.isEmpty || hasCrowd { throw ExitCode(78) }
    }

    /// Writes the policy. Returns the keys whose files are not known; their lines are faulty on purpose.
    private func write(
        _ suggestion: Suggestion, _ requests: Requests, _ files: KeyFiles, _ current: Policy?
    ) throws(ExitCode) -> [KeyName] {
        guard let first = requests.first, let last = requests.last else {
            try output(line: "# nothing was granted in that time")
            return []
        }
        func local(_ time: String) -> String { WallTime(rfc3339: time)?.local ?? printable(time) }
        try output(
            line: "# what was permitted in \(counted(requests.count, "request")), \(local(first)) to \(local(last))")
        var unknown: [KeyName] = []
        for name in suggestion.keys.sorted() {
            if let key = current?.keys[name] {
                try write(name, key.source.description, key.certificate?.description)
            } else if let file = files.files[name.description] {
                try write(name, file.key, file.certificate)
            } else {
                unknown.append(name)
                try output(line: "key \(name)")
            }
        }
        for line in suggestion.lines(user: { written($0, suggestion.userNames[$0]) }) { try output(line: line) }
        return unknown
    }

    private func write(_ name: KeyName, _ file: String, _ certificate: String?) throws(ExitCode) {
        try output(line: "key \(name) \(file)" + (certificate.map { " certificate \($0)" } ?? ""))
    }

    /// The name of a user if that name means the same user now, or else its number.
    private func written(_ uid: UInt32, _ logged: String?) -> String {
        let now = (try? Accounts.user(numbered: uid))?.name
        for name in [logged, now].compactMap(\.self) where Self.isWord(name) {
            if (try? Accounts.user(named: name))?.uid == uid { return name }
        }
        return String(uid)
    }

    /// Whether a policy takes the name for a user's name.
    private static func isWord(_ name: String) -> Bool {
        let isPlain = name.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "#") }
        return isPlain && !name.hasPrefix(":") && !name.hasPrefix(Identity.unitPrefix)
            && !name.utf8.allSatisfy(\.isDigit)
    }
}
