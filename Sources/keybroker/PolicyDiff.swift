// keybroker policy diff: compares two policies, and shows who gains and who loses which key, or the status.

internal import ArgumentParser
internal import Kernel
internal import Policy
internal import PolicyLoading
internal import PolicyReview
internal import Wire

struct PolicyDiff: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff", abstract: "Shows who gains and who loses which key from one policy to another.",
        discussion: """
            Compares what policies mean, not how they are written: names as the accounts they are, units as the names \
            that patterns stand for. Below the table are the keys that have another file or certificate. Prints nothing but \
            its heading where nobody gains or loses anything and all files are the same. What would take too long \
            to tell, for the many patterns of units, is listed as a change, with a note. 'never' lines permit nothing, \
            so they are no difference. Limits are not compared. OLD and NEW are files, or \
            directories of *.policy files. Exit status: 0, or 78 where a policy is faulty.
            """)

    @Argument(help: "The policy before.", completion: .file())
    var old: String

    @Argument(help: "The policy after.", completion: .file())
    var new: String

    @Option(help: "'text': a table; 'json': one object a line.")
    var format = TableFormat.text

    func run() throws {
        let before = try PolicyOptions.load([old])
        let after = try PolicyOptions.load([new])
        let difference = DifferenceTable(from: before.policy, to: after.policy)
        for line in format == .json ? difference.objects : difference.lines { try output(line: line) }
        difference.sayDoubts()
    }
}

extension SigningUses {
    /// In a column of rights: `sign`, or `sign for tls-server`.
    var right: String { Right.sign.rawValue + clause }

    /// In a column of what changes. Who may sign anything and from now on only handshakes loses less than the whole right.
    var changedRight: String {
        let others = Self.named.filter { !contains($0.use) }.map(\.word)
        return contains(.anything) && !others.isEmpty ? "sign, but for \(others.joined(separator: " "))" : right
    }
}

extension Key {
    fileprivate var files: String { "\(source)" + (certificate.map { " and \($0)" } ?? "") }
}

/// The table of the changes from one policy to another, and the keys that have other files.
struct DifferenceTable {
    let table: Table
    private let files: [FileChange]
    private let areCertain: Bool

    init(from before: Policy, to after: Policy) {
        let changes = differences(from: before, to: after)
        let ofStatus = statusDifferences(from: before, to: after)
        let areCertain = changes.allSatisfy(\.isCertain) && ofStatus.allSatisfy(\.isCertain)
        let hasRights = !ofStatus.isEmpty || changes.contains { $0.uses != nil }
        var table = Table(
            columns: ["change", "key", "who", "unit", "line"] + (hasRights ? ["right"] : [])
                + (areCertain ? [] : ["note"]))
        func add(_ isGain: Bool, _ cells: [String?], right: String, isCertain: Bool) {
            table.add(
                [isGain ? "gains" : "loses"] + cells + (hasRights ? [right] : [])
                    + (areCertain ? [] : [isCertain ? nil : "perhaps"]))
        }
        for change in changes {
            let rule = change.rule
            add(
                change.isGain,
                [rule.key.description, rule.writtenIdentity, rule.unit?.description, rule.location.description],
                right: change.uses?.changedRight ?? Right.key.rawValue, isCertain: change.isCertain)
        }
        for change in ofStatus {
            let permit = change.permit
            add(
                change.isGain, [nil, permit.writtenIdentity, nil, permit.location.description], right: "status",
                isCertain: change.isCertain)
        }
        (self.table, self.areCertain) = (table, areCertain)
        files = fileDifferences(from: before, to: after)
    }

    /// For people.
    var lines: [String] { table.lines + linesOfFiles }

    /// One line for each key that has other files.
    var linesOfFiles: [String] {
        files.map { "key \($0.new.name) has other files: \($0.new.files), before \($0.old.files)" }
    }

    /// For programs: one JSON object per line.
    var objects: [String] {
        var ofFiles = Table(
            columns: ["change", "key", "file", "certificate", "old-file", "old-certificate", "line"])
        for change in files {
            let (old, new) = (change.old, change.new)
            ofFiles.add(
                [
                    "files", new.name.description, new.source.description, new.certificate?.description,
                    old.source.description, old.certificate?.description, new.location.description,
                ])
        }
        return table.objects + ofFiles.objects
    }

    func sayDoubts() {
        if areCertain { return }
        say(
            "keybroker: whether any caller would notice the changes noted 'perhaps' cannot be told: there are too many "
                + "patterns of units for the same user or group and key")
    }
}
