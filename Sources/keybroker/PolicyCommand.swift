// keybroker policy: what an admin asks of a policy, without the daemon.
//
// Must never have an opinion of its own: reading and judging are the daemon's code.

internal import ArgumentParser
internal import Kernel
internal import Policy
internal import PolicyLoading

struct PolicyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Looks after the policy.", subcommands: [Check.self])

    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Tells everything that is wrong with a policy.",
            discussion: """
                Prints every fault and every warning as FILE:LINE:COLUMN: error: MESSAGE, with the line and a caret \
                under the word. Needs no running daemon and no privilege beyond reading the files. Exit status: 0 \
                where there is no error, 78 where there is one.
                """)

        @Argument(
            help: ArgumentHelp(
                "Files, or directories of *.policy files, that are one policy (default: the daemon's).",
                valueName: "path"))
        var paths: [String] = []

        @Option(
            name: .customLong("policy"),
            help: ArgumentHelp("The same, as keybrokerd takes it; may be repeated.", valueName: "path"))
        var policies: [String] = []

        func run() throws {
            let owners = TrustedOwners.now
            let given = policies + paths
            // A policy that is being written lies where its author may write; the daemon's own must be as
            // the daemon wants it.
            let loading =
                given.isEmpty
                ? PolicyFiles.standard(in: "/etc/keybroker", owners: owners).load()
                : PolicyFiles(given, owners: owners).load(distrusted: .isWarning)
            for diagnostic in loading.diagnostics {
                for line in diagnostic.lines { StandardStream.error.writeLine(line) }
            }
            let warnings = loading.diagnostics.count - loading.faults
            guard let loaded = loading.loaded else {
                throw fail("\(counted(loading.faults, "error")), \(counted(warnings, "warning"))", status: 78)
            }
            let rules = loaded.policy.rules.values.reduce(0) { $0 + $1.count }
            try output(
                line: "\(counted(loaded.files.count, "file")), \(counted(loaded.policy.keys.count, "key")), "
                    + "\(counted(rules, "permission")), \(counted(warnings, "warning")); policy \(loaded.digest)")
        }
    }
}

/// "1 key", "2 keys"
private func counted(_ number: Int, _ thing: String) -> String { "\(number) \(thing)\(number == 1 ? "" : "s")" }
