// keybroker audit verify: checks whether the log is still what the daemon wrote.

internal import ArgumentParser
internal import AuditReading
internal import Digest
internal import Kernel
internal import Wire

struct AuditVerify: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Proves that nobody changed the log.",
        discussion: """
            Follows the chain over all records and files, tells the first record that is wrong, and prints the head of \
            the chain. Keep that elsewhere, and check the log against it with --expect: a log that was cut at its end is \
            only noticed so. Exit status: 0 where all is as it was written, 74 where it is not or cannot be read.
            """)

    @Argument(
        help: ArgumentHelp(
            "The files of the log, plain or gzip, in any order (default: the daemon's, with those rotated away).",
            valueName: "path"),
        completion: .file())
    var paths: [String] = []

    @OptionGroup var log: AuditOptions

    @Option(help: ArgumentHelp("A head of the chain that was kept: it must be in the log.", valueName: "head"))
    var expect: String?

    func validate() throws {
        guard let expect else { return }
        guard expect.utf8.allSatisfy(\.isLowerHexDigit), expect.utf8.count == SHA256.hexLength else {
            throw ValidationError("--expect is a head as it was printed: 64 digits and letters from a to f.")
        }
    }

    func run() throws {
        var reader = LogReader(try log.files(paths), expecting: expect)
        let since: UInt64?
        do throws(Unverified) {
            while try reader.next() != nil {}
            since = try reader.verifier.recordsSinceExpected()
        } catch { throw fail(error.description, status: 74) }
        let verifier = reader.verifier
        guard let first = verifier.firstNumber else { throw fail("the log is empty", status: 74) }
        try output(
            line:
                "\(counted(verifier.records, "record")), \(first) to \(verifier.lastNumber), in \(counted(reader.filesRead, "file"))"
        )
        if verifier.beginsAfterAnother {
            try output(line: "begins after record \(first - 1), of a file that was not given")
        }
        if let since {
            try output(line: "the expected head is in it, with \(counted(Int(clamping: since), "record")) after it")
        }
        try output(line: "head \(verifier.head)")
    }
}
