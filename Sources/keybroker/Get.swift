// keybroker get: writes a key's bytes to a file, or to standard output.
//
// Must never leave the bytes in memory that is not wiped, or a file that others may read. Must never show them on a
// terminal unless the user forces it.

internal import ArgumentParser
internal import ClientKernel
internal import Kernel
internal import KeyBrokerClient

struct Get: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Writes a key to a file, or to standard output.",
        discussion: """
            For a program that reads its key from a file of its own, as in a start script. 'keybroker exec' needs no \
            file.
            """)

    @Argument(help: "The key's name in the policy.", completion: .permittedKeys)
    var name: String

    @Option(
        help: ArgumentHelp(
            "Write to this file: whole or not at all, with mode 0600, and 0644 for a certificate.", valueName: "file"),
        completion: .file())
    var output: String?

    @Flag(help: "Write the certificate that belongs to the key instead.")
    var certificate = false

    @Flag(help: "Write even to a terminal.")
    var force = false

    @OptionGroup var options: BrokerOptions

    func run() throws {
        // Checked before the request, so that no grant is recorded for a key that is not used.
        let file = try output.map { path throws(ExitCode) in
            try writing(path, try WholeFile(replacing: path, mode: certificate ? 0o644 : 0o600))
        }
        if file == nil, !certificate { try checkOutput() }
        let key = try asking(try options.broker.key(name, waitingUpTo: options.patience))
        let bytes = try asking(certificate ? try key.readCertificate() : try key.readKey())
        guard let bytes else {
            throw fail("key '\(name)': the policy names no certificate for it", status: 69)
        }
        guard bytes.count > 0 else {
            throw fail("key '\(name)': the \(certificate ? "certificate" : "key") file is empty", status: 66)
        }
        if let file, let output {
            try writing(output, try bytes.withBytes { bytes throws(Failure) in try file.write(bytes) })
        } else {
            try keybroker.output(
                try bytes.withBytes { bytes throws(Failure) in try StandardStream.output.writeAll(bytes) })
        }
    }

    /// Looks at where a private key would go.
    private func checkOutput() throws(ExitCode) {
        guard force || !StandardStream.output.isTerminal else {
            throw fail(
                "standard output is a terminal, where a private key is not shown; write it to a file with "
                    + "--output FILE, or use --force",
                status: 64)
        }
        // The shell has made the file already, by its umask.
        guard let status = StandardStream.output.status, status.kind == .regular, status.mode & 0o077 != 0 else {
            return
        }
        // The warning must not get into the file, as it would with StandardOutput=file: of a unit.
        let error = StandardStream.error.status
        guard error?.device != status.device || error?.inode != status.inode else { return }
        say(
            "keybroker: warning: standard output is a file with mode \(status.octalMode), which other accounts may open; "
                + "write the key with --output FILE instead, which makes it 0600")
    }
}
