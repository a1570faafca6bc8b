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
            StandardStream.error.writeLine("keybroker-tls-demo: \(error.description)")
            exitProcess(error.status)
        }
    }

    private static func request() throws(Exit) -> Options.Request {
        do throws(Options.Fault) { return try Options.request(Array(CommandLine.arguments.dropFirst())) } catch {
            throw Exit(status: 64, description: "\(error.description); see keybroker-tls-demo --help")
        }
    }

    private static func serve(_ options: Options) throws(Exit) {
        // Before anything else, as a signal that comes meanwhile must not be lost.
        let signals = try onFailure { () throws(Failure) in try Signals() }
        if Privileges.isRoot {
            StandardStream.error.writeLine(
                "keybroker-tls-demo: runs as root; a service that gets its key from the broker need not")
        }
        let server = try Server(options, try Identity(options), signals)
        try onFailure { () throws(Failure) in try server.run() }
    }

    private static func onFailure<R: ~Copyable>(_ body: () throws(Failure) -> R) throws(Exit) -> R {
        do { return try body() } catch { throw Exit(status: 71, description: error.description) }
    }
}
