// Where the daemon writes its log: only where nobody else could have put it, or could change it.

import Foundation
import TestSupport
import Testing

/// Starts a daemon that is not to serve because of its log, and returns what it says. The policy is in the folder.
func refusedStart(_ folder: TemporaryFolder) throws -> String {
    let (status, _, errors) = try Program.run(
        Program.built("keybrokerd"),
        [
            "--policy", folder["policy"], "--socket", folder["run/broker.sock"], "--socket-group", "0", "--audit",
            folder["log/audit.jsonl"], "--user", String(Daemon.uid),
        ])
    #expect(status == 74, "\(errors)")
    return errors
}

@Suite(.enabled(if: isRoot, "needs root: it gives files to other accounts"))
struct LogTrustTests {
    private let folder = TemporaryFolder("logtrust")
    private let somebody = 61009

    private func refused() throws -> String {
        try folder.write("policy", "")
        return try refusedStart(folder)
    }

    @Test func aDirectoryOfSomebodyElsesIsRefused() throws {
        try folder.directory("log", mode: 0o777, owner: somebody)
        #expect(try refused().contains("the audit log cannot be used: \(folder["log"]) belongs to uid \(somebody)"))
        // Nor is a lock made there.
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder["log"]).isEmpty)
    }

    @Test(arguments: [0o777, 0o770]) func aDirectoryThatOthersCanWriteToIsRefused(_ mode: Int) throws {
        try folder.directory("log", mode: mode, owner: Int(Daemon.uid))
        #expect(try refused().contains("\(folder["log"]) can be written to by"))
    }

    @Test func aFileOfSomebodyElsesIsRefused() throws {
        try folder.directory("log", mode: 0o1777)
        try folder.write("log/audit.jsonl", "", mode: 0o666, owner: somebody)
        #expect(try refused().contains("\(folder["log/audit.jsonl"]) belongs to uid \(somebody)"))
        try folder.remove("log/audit.jsonl")
        try folder.write("log/audit.jsonl", "", mode: 0o666, owner: Int(Daemon.uid))
        #expect(try refused().contains("\(folder["log/audit.jsonl"]) can be written to by everybody"))
    }

    /// As `/var/log` is 0775 in some distributions, and as rotation leaves a file.
    @Test func aLogOfTheDaemonsOwnIsTaken() throws {
        try folder.directory("above", mode: 0o775)
        try folder.directory("above/log", mode: 0o750, owner: Int(Daemon.uid))
        try folder.link("log", to: "above/log")
        let daemon = try Daemon(folder, policy: "")
        try folder.shell("mv log/audit.jsonl log/audit.jsonl.1")
        try folder.write("log/audit.jsonl", "", mode: 0o640, owner: somebody)
        #expect(try daemon.reload().contains("the audit log is not reopened"))
        try folder.shell("chown \(Daemon.uid) log/audit.jsonl")
        #expect(try daemon.reload().contains("goes on in a new audit log"))
        #expect(try daemon.stop() == 0)
    }
}
