// keybroker exec: runs a command with keys that it can read.
//
// Must never start the command line's general parser on its way to the command: that would take as long as all else
// together. Must never change how the command finds signals, descriptors and the environment.

internal import ArgumentParser
internal import Kernel
internal import Launching

/// What the help and the completions say. `LaunchOptions` reads the command line.
struct Exec: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Runs a command with keys that it can read.",
        usage: """
            keybroker exec [--key NAME[=N]] ... [--certificate NAME[=N]] ... [--bundle NAME[=N]] ... \
            [--sign NAME[=N]] ... [--env VAR=NAME] ... [--on-rotate SIGNAL | --on-rotate-run COMMAND] [--wait TIME] [--socket PATH] -- COMMAND [ARG] ...
            """,
        discussion: """
            The command has each file open at descriptor N, and can open it at /proc/self/fd/N. In its arguments \
            {NAME}, {NAME.certificate} and {NAME.bundle} become such paths, and need no option. Run it as the account \
            of the service. It ends with the command's own status: the command runs in its place.
            """)

    @Option(
        name: .customLong("key"),
        help: ArgumentHelp("The key; N is the number of its descriptor.", valueName: "NAME[=N]"),
        completion: .permittedKeys)
    var keys: [String] = []

    @Option(
        name: .customLong("certificate"),
        help: ArgumentHelp("The certificate and its chain.", valueName: "NAME[=N]"),
        completion: .permittedKeys)
    var certificates: [String] = []

    @Option(
        name: .customLong("bundle"),
        help: ArgumentHelp("The certificate, its chain, and then the key, in one file.", valueName: "NAME[=N]"),
        completion: .permittedKeys)
    var bundles: [String] = []

    @Option(
        name: .customLong("sign"),
        help: ArgumentHelp(
            "A pointer in the place of the key, which signs and stays with the broker.", valueName: "NAME[=N]"),
        completion: .keys)
    var signing: [String] = []

    @Option(
        name: .customLong("env"),
        help: ArgumentHelp(
            "Sets a variable to the path; also of NAME.certificate, NAME.bundle.", valueName: "VAR=NAME"))
    var variables: [String] = []

    @Option(
        help: ArgumentHelp(
            "Brings the command each later key, and then sends it this signal, such as HUP.", valueName: "SIGNAL"))
    var onRotate: String?

    @Option(
        help: ArgumentHelp(
            "Brings the command each later key, and then has the shell run this.", valueName: "COMMAND"))
    var onRotateRun: String?

    @Option(
        help: ArgumentHelp(
            "How long to wait for a broker that is starting or busy, or a key that is missing: 30s, 2m.",
            valueName: "TIME"))
    var wait: String?

    @Option(
        name: .customLong("socket"),
        help: ArgumentHelp("The broker's socket.", valueName: "PATH"))
    var socketPath: String?

    @Argument(parsing: .postTerminator, help: "The command and its arguments.", completion: .file())
    var command: [String] = []

    func run() throws {
        throw fail("write exec first, and its options after it: keybroker exec --key NAME -- COMMAND", status: 64)
    }

    /// Runs the command if the command line asks for that, and then does not return. Returns if there is something else
    /// to do: another command, or the help of this one.
    static func runIfAsked() {
        let options: LaunchOptions?
        do throws(LaunchOptions.Refusal) { options = try LaunchOptions.ofThisProcess() } catch {
            switch error {
            case .helpWanted: return
            case .fault(let fault):
                say("keybroker: exec: \(fault); see keybroker exec --help")
                exitProcess(LaunchFailure.usage)
            }
        }
        guard let options else { return }
        // It does not wait: nobody may read what the process beside the command says. There is seldom anything to say.
        var prompt: PromptErrorStream?
        let launch = Launch(options) { line in
            let stream = prompt ?? PromptErrorStream()
            prompt = stream
            _ = stream.offerLine(harmless("keybroker: \(line)"))
        }
        switch launch.run() {
        case .commandHasEnded: exitProcess(0)
        case .failure(let failure):
            say("keybroker: \(failure.description)")
            exitProcess(failure.status)
        }
    }
}
