// keybroker policy check: lists all errors and warnings of a policy.

internal import ArgumentParser
internal import Kernel
internal import Policy
internal import PolicyLoading

struct PolicyCheck: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Tells everything that is wrong with a policy.",
        discussion: """
            Prints every fault and every warning as FILE:LINE:COLUMN: error: MESSAGE, with the line and a caret \
            under the word. With --strict a warning counts as an error. Exit status: 0 where there is no error, 78 where \
            there is one.
            """)

    @Argument(
        help: ArgumentHelp(
            "Files, or directories of *.policy files, that are one policy (default: the daemon's).", valueName: "path"))
    var paths: [String] = []

    @Flag(help: "End with status 78 if there is a warning, too.")
    var strict = false

    @OptionGroup var options: PolicyOptions

    func run() throws {
        let loading = PolicyOptions.loading(options.paths + paths)
        say(loading.diagnostics)
        let warnings = counted(loading.warnings, "warning")
        guard let loaded = loading.loaded else {
            throw fail("\(counted(loading.faults, "error")), \(warnings)", status: 78)
        }
        if strict, loading.warnings > 0 {
            throw fail("\(warnings), and with --strict a warning is an error", status: 78)
        }
        try output(
            line: "\(counted(loaded.files.count, "file")), \(counted(loaded.policy.keys.count, "key")), "
                + "\(counted(loaded.policy.permissions, "permission")), \(warnings); policy \(loaded.digest)")
        if (options.paths + paths).isEmpty { PolicyInForce.compare(with: loaded) }
    }
}
