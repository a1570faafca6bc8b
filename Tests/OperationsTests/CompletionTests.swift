// Completions of names, in the shells themselves: bash and zsh in a terminal, fish by its own question.
//
// Must never depend on a key, user or unit of one machine, but for root and what systemd itself installs.

import Foundation
import TestSupport
import Testing

@Suite(.serialized) struct CompletionTests {
    private let folder = TemporaryFolder("completions")
    private let daemon: Daemon

    /// The tool is found as a shell finds it.
    init() throws {
        try folder.directory("bin")
        try folder.link("bin/keybroker", to: Program.built("keybroker"))
        // A busy machine takes longer than somebody would wait.
        try folder.write("bin/timeout", "#!/bin/sh\nshift\nexec \"$@\"\n", mode: 0o755)
        try folder.write("key", "KEY", mode: 0o600)
        let caller = isRoot ? "0" : String(geteuid())
        daemon = try Daemon(
            folder,
            policy: "key web-tls \(folder["key"])\nkey api-tls \(folder["key"])\npermit \(caller) key web-tls api-tls")
        for (shell, file) in [("bash", "bash"), ("zsh", "_keybroker"), ("fish", "fish")] {
            let script = try Program.run(Program.built("keybroker"), ["--generate-completion-script", shell])
            #expect(script.status == 0)
            try folder.write(file, script.output)
        }
    }

    private var environment: [String: String] {
        [
            "PATH": "\(folder["bin"]):/usr/sbin:/usr/bin:/sbin:/bin", "KEYBROKER_SOCKET": daemon.socket,
            "LC_ALL": "C.UTF-8", "HOME": folder.path,
        ]
    }

    private static let lines = [
        ("keybroker get we", "b-tls"), ("keybroker exec --key ap", "i-tls"), ("keybroker rotation wait we", "b-tls"),
        ("keybroker policy explain --key ap", "i-tls"), ("keybroker audit show --key we", "b-tls"),
        ("keybroker policy explain --user roo", "t"), ("keybroker audit show --user roo", "t"),
    ]
    /// Any unit that is installed, if its name has nothing special.
    private static let unit = "systemd-tmpfiles-clean.service"
    private static var hasUnits: Bool { FileManager.default.fileExists(atPath: "/usr/lib/systemd/system/\(unit)") }

    private func expectCompletions(_ complete: (String) throws -> String) throws {
        var lines = Self.lines
        if Self.hasUnits, installed("systemctl") != nil {
            let cut = Self.unit.index(Self.unit.endIndex, offsetBy: -9)
            for command in ["policy explain", "audit show"] {
                lines.append(("keybroker \(command) --unit \(Self.unit[..<cut])", String(Self.unit[cut...])))
            }
        }
        for (line, rest) in lines { #expect(try complete(line) == line + rest) }
    }

    @Test(
        .enabled(if: installed("python3") != nil, "python3 is not installed"),
        arguments: [("bash", "bash"), ("zsh", "_keybroker")])
    func aTabCompletesNames(_ shell: String, _ file: String) throws {
        guard let path = installed(shell) else { return print("skipped: \(shell) is not installed") }
        let script = testsFolder.appendingPathComponent("OperationsTests/Scripts/complete.py").path
        try expectCompletions { line in
            let typed = try Program.run(
                installed("python3") ?? "", [script, path.hasSuffix("zsh") ? "zsh" : "bash", folder[file], line],
                environment: environment)
            #expect(typed.status == 0, "\(typed.errors)")
            return typed.output.trimmingCharacters(in: .newlines)
        }
    }

    @Test(.enabled(if: installed("fish") != nil, "fish is not installed")) func fishCompletesNames() throws {
        try expectCompletions { line in
            let script = "source \(folder["fish"]); complete -C '\(line)'"
            let offered = try Program.run(
                installed("fish") ?? "", ["--no-config", "-c", script], environment: environment)
            let words = offered.output.split(separator: "\n").compactMap { $0.split(separator: "\t").first }
            guard words.count == 1 else { return "\(offered.output)\(offered.errors)" }
            return "\(line.prefix { $0 != "\n" }.split(separator: " ").dropLast().joined(separator: " ")) \(words[0])"
        }
    }

    /// A list of the names of users is not this project's. Bash expands what it is offered.
    @Test func nothingIsExpandedByTheShell() throws {
        try folder.write(
            "bin/getent", "#!/bin/sh\necho 'rooster$(touch \(folder["expanded"])):x:1:1::/:/bin/sh'\n", mode: 0o755)
        let script = testsFolder.appendingPathComponent("OperationsTests/Scripts/complete.py").path
        let typed = try Program.run(
            installed("python3") ?? "", [script, "bash", folder["bash"], "keybroker policy explain --user roos"],
            environment: environment)
        #expect(typed.output.contains("--user rooster"), "\(typed.output)\(typed.errors)")
        #expect(!FileManager.default.fileExists(atPath: folder["expanded"]))
    }
}
