// keybroker audit: what an auditor asks of the log, without the daemon.
//
// Must never believe a record that it did not verify, nor print what came from outside unescaped.

internal import ArgumentParser
internal import Audit
internal import Kernel
internal import Wire

struct AuditCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "Reads the audit log.", subcommands: [AuditVerify.self])
}

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
            "The files of the log, oldest first (default: the daemon's, with those rotated away from it).",
            valueName: "path"))
    var paths: [String] = []

    @Option(
        name: .customLong("audit"), help: ArgumentHelp("The same; may be repeated.", valueName: "path"))
    var logs: [String] = []

    @Option(help: ArgumentHelp("A head of the chain that was kept: it must be in the log.", valueName: "head"))
    var expect: String?

    func run() throws {
        let files = try files()
        var verifier = Verifier(expected: expect)
        for file in files {
            do { try verifier.verify(file) } catch { throw fail(printable(error.description), status: 74) }
        }
        let since: UInt64?
        do { since = try verifier.recordsSinceExpected() } catch {
            throw fail(printable(error.description), status: 74)
        }
        guard let first = verifier.firstNumber else { throw fail("the log is empty", status: 74) }
        try output(
            line:
                "\(counted(verifier.records, "record")), \(first) to \(verifier.lastNumber), in \(counted(files.count, "file"))"
        )
        if verifier.beginsAfterAnother {
            try output(line: "begins after record \(first - 1), of a file that was not given")
        }
        if let since { try output(line: "the expected head is in it, with \(counted(Int(since), "record")) after it") }
        try output(line: "head \(verifier.head)")
    }

    private func files() throws(ExitCode) -> [String] {
        let given = logs + paths
        if !given.isEmpty { return given }
        let path = "/var/log/keybroker/audit.jsonl"
        do throws(Failure) {
            let (files, compressed) = try logFiles(of: path)
            for name in compressed {
                StandardStream.error.writeLine(
                    "keybroker: \(printable(name)) is compressed, which cannot be read yet: decompress it and name all files"
                )
            }
            return files
        } catch { throw fail(printable(error.description), status: 74) }
    }
}
