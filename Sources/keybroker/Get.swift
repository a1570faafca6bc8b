// keybroker get: writes a key's bytes to standard output.
//
// Must never leave the bytes in memory that is not wiped. Must never show them on a terminal unless the user forces it.

internal import ArgumentParser
internal import Kernel
internal import KeyBrokerClient

struct Get: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Writes a key to standard output.",
        discussion: "For a program that reads its key from a pipe or a file of its own, as in a start script.")

    @Argument(help: "The key's name in the policy.")
    var name: String

    @Flag(help: "Write the certificate that belongs to the key instead.")
    var certificate = false

    @Flag(help: "Write even to a terminal.")
    var force = false

    @OptionGroup var options: BrokerOptions

    func run() throws {
        // Checked before the request, so that no grant is recorded for a key that is not used.
        guard force || certificate || !StandardStream.output.isTerminal else {
            throw fail(
                "standard output is a terminal, where a private key is not shown; redirect it, or use --force",
                status: 64)
        }
        let key = try asking(try options.broker.key(name, waitingUpTo: options.patience))
        let bytes = try asking(certificate ? try key.readCertificate() : try key.readKey())
        guard let bytes else {
            throw fail("key '\(name)': the policy names no certificate for it", status: 69)
        }
        guard bytes.count > 0 else {
            throw fail("key '\(name)': the \(certificate ? "certificate" : "key") file is empty", status: 66)
        }
        try output(try bytes.withBytes { bytes throws(Failure) in try StandardStream.output.writeAll(bytes) })
    }
}
