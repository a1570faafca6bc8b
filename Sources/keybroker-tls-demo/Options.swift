// The command line of keybroker-tls-demo.
//
// Must never guess: an unknown option ends the program before it asks for a key.

internal import ArgumentParser
internal import Streams
internal import Wire

/// The options that the server was started with.
struct Options: ParsableArguments {
    @Option(help: ArgumentHelp("The key to ask for.", valueName: "name"), transform: text)
    var key: String

    @Option(
        name: .customLong("listen"),
        help: ArgumentHelp(
            "127.0.0.1:8443, [::1]:8443 or unix:/PATH; may be repeated; port 0 is any free one.", valueName: "address"),
        transform: { try Address($0) })
    var addresses: [Address]

    @Flag(
        help: ArgumentHelp(
            "Serve TLS 1.3 with a key that stays with the broker ('permit USER sign NAME' in the policy)."))
    var sign = false

    @Option(
        help: ArgumentHelp(
            "With --sign: OpenSSL's provider keybroker.so (default: where OpenSSL looks for modules).",
            valueName: "path"),
        transform: text)
    var provider: String?

    @Option(
        help: ArgumentHelp("The certificate and its chain, if the broker hands none over.", valueName: "path"),
        transform: text)
    var certificate: String?

    @Option(
        help: ArgumentHelp(
            "The broker's socket (default: $KEYBROKER_SOCKET, else /run/keybroker/broker.sock).", valueName: "path"),
        transform: text)
    var brokerSocket: String?

    @Option(
        help: ArgumentHelp(
            "How long to wait for a broker that is starting or busy (default: 0).", valueName: "seconds"),
        transform: number(in: 0...86_400))
    var wait = 0

    @Option(
        help: ArgumentHelp(
            "A path of the key, to show on the page that this account cannot open it.", valueName: "path"),
        transform: text)
    var keyPath: String?

    @Option(
        name: .customLong("idle-timeout"),
        help: ArgumentHelp(
            "How long a client may take for a handshake, a request, a response (default: 10).", valueName: "seconds"),
        transform: number(in: 1...3_600))
    var idleSeconds = 10

    @Option(
        help: ArgumentHelp("How many connections at a time (default: 512).", valueName: "number"),
        transform: number(in: 1...16_384))
    var maxConnections = 512

    func validate() throws {
        if provider != nil, !sign { throw ValidationError("--provider goes with --sign; write both, or neither") }
    }
}

/// What is wrong with a value.
private struct Fault: Error, CustomStringConvertible { let description: String }

@Sendable private func text(_ value: String) throws -> String {
    guard !value.isEmpty else { throw Fault(description: "it needs a value") }
    return value
}

private func number(in range: ClosedRange<Int>) -> @Sendable (String) throws -> Int {
    { value in
        guard let number = decimal(value), range.contains(number) else {
            throw Fault(description: "it is a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }
}
