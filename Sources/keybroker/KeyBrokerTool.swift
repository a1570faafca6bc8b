// keybroker, the command-line tool: the list of its commands, and what they share.
//
// Must never print a key to a terminal unless the user forces it. Must never use an exit status with another meaning
// than in sysexits.h.

internal import ArgumentParser
internal import Kernel
internal import KeyBrokerClient
internal import Policy
internal import Wire

@main
struct KeyBrokerTool: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keybroker",
        abstract: "Asks the key broker for private keys, and looks after its policy and its log.",
        discussion: """
            Exit status: 0 done, 64 usage, 65 a key and its certificate do not match, 66 the key is empty, 69 the \
            broker cannot be reached, 71 system error, 74 the audit log cannot be written, 75 busy or not now: try \
            again, 77 not permitted, 78 the policy is faulty.
            """,
        version: "keybroker \(version)",
        subcommands: [
            Get.self, List.self, Exec.self, Pointer.self, StatusCommand.self, Reload.self, RotationCommand.self,
            PolicyCommand.self, AuditCommand.self,
        ])

    static func main() {
        StandardStream.openClosedOnes()
        Exec.runIfAsked()
        // If the reader of the output goes away, the write fails, and that ends the program.
        Signals.ignoreBrokenPipes()
        let arguments = ProgramArguments.all
        if let misspelt = Self.misspelt(arguments) { exitProcess(misspelt.rawValue) }
        main(arguments)
    }

    /// Says which command was meant, if a word at the begin is almost one. Nil if none is: then the parser judges.
    private static func misspelt(_ arguments: [String]) -> ExitCode? {
        var command: any ParsableCommand.Type = Self.self
        for word in arguments {
            let commands = command.configuration.subcommands
            if commands.isEmpty || word.hasPrefix("-") || word == "help" { return nil }
            if let next = commands.first(where: { name($0) == word }) {
                command = next
                continue
            }
            guard let meant = closest(to: word, among: commands.map(name)) else { return nil }
            return fail("there is no command '\(word)'; did you mean '\(meant)'?", status: 64)
        }
        return nil
    }

    private static func name(_ command: any ParsableCommand.Type) -> String {
        command.configuration.commandName ?? "\(command)".lowercased()
    }
}

/// How to reach the broker.
struct BrokerOptions: ParsableArguments {
    @Option(
        name: .customLong("socket"),
        help: ArgumentHelp(
            "The broker's socket (default: $KEYBROKER_SOCKET, else \(KeyBroker.defaultSocketPath)).", valueName: "path")
    )
    var socketPath: String?

    @Option(help: ArgumentHelp("How long to wait for a broker that is starting or busy.", valueName: "seconds"))
    var wait: Double = 0

    func validate() throws {
        guard wait >= 0, wait <= 86_400 else { throw ValidationError("--wait is from 0 to 86400 seconds.") }
    }

    var broker: KeyBroker { KeyBroker(socketPath: socketPath) }
    var patience: Duration { .seconds(wait) }
}

/// The format of a table.
enum TableFormat: String, ExpressibleByArgument, CaseIterable {
    case text, json
}
