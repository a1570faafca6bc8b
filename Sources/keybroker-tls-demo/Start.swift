// keybroker-tls-demo, from the command line to the loop.
//
// Must never listen before it has a key that it can serve with.

internal import Kernel
internal import Wire

@main
struct Start {
    static func main() {
        do throws(Exit) {
            switch try request() {
            case .help: StandardStream.output.writeLine(Options.help)
            case .version: StandardStream.output.writeLine("keybroker-tls-demo \(version)")
            case .serve(let options): try serve(options)
            }
        } catch {
            complain(error.description)
            exitProcess(error.status)
        }
    }

    private static func request() throws(Exit) -> Options.Request {
        do throws(Options.Fault) { return try Options.request(Array(CommandLine.arguments.dropFirst())) } catch {
            throw Exit(status: Exit.usage, description: "\(error.description); see keybroker-tls-demo --help")
        }
    }

    private static func serve(_ options: Options) throws(Exit) {
        if Privileges.isRoot { complain("runs as root; a service that gets its key from the broker need not") }
        let runningAs = try Exit.onFailure { () throws(Failure) in try RunningAs.now() }
        let identity = try Identity(options, waitingUpTo: options.wait)
        // Until here there is nothing to finish, and a signal ends the program at once, even while it waits
        // for the broker.
        let signals = try Exit.onFailure { () throws(Failure) in try Signals() }
        let server = try Server(options, runningAs, identity, signals)
        try Exit.onFailure { () throws(Failure) in try server.run() }
    }
}
