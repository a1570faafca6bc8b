// keybroker-tls-demo, from the command line to the loop.
//
// Must never listen before it has a key, or the right to have one sign, that it can serve with.

internal import ArgumentParser
internal import Kernel
internal import Wire

@main
struct Start: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keybroker-tls-demo",
        abstract: "A small HTTPS server with a private key of the key broker: as an open descriptor, or lent.",
        discussion: """
            The page shows SHA-256 of the public key, as this computes it of the certificate:
              openssl x509 -in CERTIFICATE -noout -pubkey |
                openssl pkey -pubin -outform DER | sha256sum

            With --sign the server never has the key: the broker's signer signs its handshakes, and OpenSSL asks there \
            through the provider keybroker.so. If the policy takes the permission away, the next handshake fails.

            If the key is rotated, new connections are served with the next one; SIGHUP asks the broker again at once, and with --sign only SIGHUP does. \
            SIGTERM and SIGINT finish the responses in hand and end. Exit status: 0 done, 64 usage, 69 the broker cannot be reached, \
            71 system error, 75 try again, 77 not permitted, 78 the key or certificate cannot be used.
            """,
        version: "keybroker-tls-demo \(version)")

    @OptionGroup var options: Options

    static func main() {
        StandardStream.openClosedOnes()
        main(ProgramArguments.all)
    }

    func run() throws {
        do throws(Exit) { try serve() } catch {
            complain(error.description)
            throw ExitCode(error.status)
        }
    }

    private func serve() throws(Exit) {
        if Privileges.isRoot { complain("runs as root; a service that gets its key from the broker need not") }
        let runningAs = try Exit.onFailure(try RunningAs.now())
        let (identity, watchedKey) = try identity(.seconds(options.wait))
        // Signals are handled only from here on. Before, there is nothing to finish, and a signal ends the program at
        // once, even while it waits for the broker.
        let signals = try Exit.onFailure(try Signals())
        let server = try Server(options, runningAs, identity, watchedKey, signals)
        try Exit.onFailure(try server.run())
    }

    private func identity(_ wait: Duration) throws(Exit) -> (Identity, WatchedKey?) {
        if options.sign { return (try .lent(options, waitingUpTo: wait), nil) }
        return try Identity.watched(options, waitingUpTo: wait)
    }
}
