// keybroker pointer: writes a pointer file, which stands in the place of a private key.
//
// Must never ask the broker: whoever makes the file need not be who uses it.

internal import ArgumentParser
internal import ClientKernel
internal import Kernel
internal import Wire

struct Pointer: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Writes a pointer file: it stands where a program wants a private key.",
        discussion: """
            The file is no secret: it names the key. A program that uses OpenSSL 3 with the provider keybroker reads it, \
            asks the broker for a channel, and has the key sign there: see keybroker-provider(7). The broker is not \
            asked now.
            """)

    @Argument(help: "The key.", completion: .keys)
    var name: String

    @Option(
        help: ArgumentHelp("Write to this file: whole or not at all, with mode 0644.", valueName: "file"),
        completion: .file())
    var output: String?

    func run() throws {
        guard let key = KeyName(name) else {
            throw fail("'\(name)': \(KeyName.fault(in: Array(name.utf8)[...]) ?? "not a key name")", status: 64)
        }
        let text = Array(PointerFile(to: key).text.utf8)
        guard let path = output else { return try keybroker.output(try StandardStream.output.writeAll(text)) }
        let file = try writing(path, try WholeFile(replacing: path, mode: 0o644))
        try writing(path, try file.write(text.span))
    }
}
