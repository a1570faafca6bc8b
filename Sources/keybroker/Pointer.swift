// keybroker pointer: prints a pointer file, which stands in the place of a private key.

internal import ArgumentParser
internal import Wire

struct Pointer: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Prints a pointer file: it stands where a program wants a private key.",
        discussion: """
            The file is no secret: it names the key. A program that uses OpenSSL 3 with the provider keybroker reads it, \
            asks the broker for a channel, and has the key sign there. The broker is not asked now. Exit status: 0, or 64 \
            where NAME is not a key's name.
            """,
        // The daemon serves no channels yet.
        shouldDisplay: false)

    @Argument(help: "The key.", completion: .keys)
    var name: String

    func run() throws {
        for line in PointerFile(to: try namedKey(name)).lines { try output(line: line) }
    }
}
