// Whether the manual pages are well formed, and name all that there is.

import Foundation
import TestSupport
import Testing
import Wire

struct ManualPagesTests {
    @Test(arguments: [
        "systemd/keybrokerd.8", "systemd/keybroker.1", "policy/keybroker.policy.5", "policy/keybroker-audit.5",
        "systemd/keybroker-security.7", "systemd/keybroker-sockets.7", "systemd/keybroker-recipes.7",
        "systemd/keybroker-protocol.7", "systemd/keybroker.3", "systemd/keybroker-provider.7",
    ])
    func manualPagesAreWellFormed(_ path: String) throws {
        guard let mandoc = installed("mandoc") else { return print("skipped: mandoc is not installed") }
        let lint = try Program.run(mandoc, ["-T", "lint", projectFolder.appendingPathComponent(path).path])
        // Pages of this project and of systemd may not be installed where the tests run.
        let said = lint.output.split(separator: "\n").filter {
            !$0.contains("referenced manual not found") && !$0.contains("outdated mandoc.db")
        }
        #expect(said.isEmpty, "\(said.joined(separator: "\n"))")
        // The program behind man(1) on most systems has complaints of its own.
        guard let groff = installed("groff") else { return print("skipped: groff is not installed") }
        let page = projectFolder.appendingPathComponent(path).path
        let printed = try Program.run(groff, ["-mandoc", "-Tutf8", "-wbreak", "-t", "-rLL=78n", page])
        // groff from 1.23 on says where a line has no space to fill.
        let isOld = try Program.run(groff, ["--version"]).output.contains(" 1.22.")
        let complaints = printed.errors.split(separator: "\n").filter { isOld || !$0.contains("cannot adjust line") }
        #expect(printed.status == 0 && complaints.isEmpty, "\(printed.errors)")
    }

    /// The manual page contains every line that the daemon can say. Only the words that never change are compared.
    @Test func manualPagesHaveEveryLine() throws {
        let page = try page("systemd/keybrokerd.8").replacing("\n", with: " ").replacing("\\&", with: "")
        var texts: [Substring] = []
        for (_, lines) in try swiftFiles(sources.appendingPathComponent("keybrokerd")) {
            let source = lines.joined(separator: "\n")
            texts += source.matches(
                of: #/(?:\.log|\bExit|\bUnknown)\(\s*(?:description: |\.\w+,\s*)?"((?:[^"\\]|\\.)*)"/#
            )
            .map(\.1)
        }
        texts += try source("Audit/Log.swift").matches(of: #/case \.\w+[^\n]*:\s*"((?:[^"\\]|\\.)*)"/#).map(\.1)
        #expect(texts.count > 18)
        for text in texts {
            // Compares the text up to the first `;` or `:`, after which only details follow, and without the
            // interpolated parts, for which the page has words in capitals.
            let fixed = text.replacing(#/\\\((?:[^()"]|\([^()]*\))*\)/#, with: "|")
            let head = fixed.prefix { $0 != ";" && $0 != ":" }
            for part in head.split(whereSeparator: { "|'".contains($0) }) where part.split(separator: " ").count > 1 {
                let words = part.split(separator: " ").joined(separator: " ")
                #expect(page.contains(words), "\(text): '\(words)'")
            }
        }
    }

    /// The manual pages contain all options, limits and reasons that the sources name.
    @Test func manualPagesAreComplete() throws {
        let daemon = try page("systemd/keybrokerd.8")
        for option in try source("keybrokerd/Options.swift").matches(of: #/case "--([a-z-]+)"/#) {
            #expect(daemon.contains("Fl -\(option.1)"), "--\(option.1)")
        }
        for name in ["LISTEN_FDS", "NOTIFY_SOCKET", "JOURNAL_STREAM", "CREDENTIALS_DIRECTORY", "XDG_RUNTIME_DIR"] {
            #expect(daemon.contains(name))
        }
        for status in try source("keybrokerd/Exit.swift").matches(of: #/= (\d\d)\b/#) {
            #expect(daemon.contains(".It \(status.1)\n"), "status \(status.1)")
        }
        let tool = try page("systemd/keybroker.1")
        let options = try source("Launching/LaunchOptions.swift").matches(of: #/\("--([a-z-]+)", "/#)
        #expect(options.count > 5)
        for option in options { #expect(tool.contains(".It Fl -\(option.1) "), "exec --\(option.1)") }
        for status in try source("Launching/LaunchFailure.swift").matches(of: #/= (\d\d\d?)\b/#) {
            #expect(tool.contains(".It \(status.1)\n"), "status \(status.1)")
        }
        let seconds = try source("Wire/Limits.swift").firstMatch(of: #/rotationCommand = Duration.seconds\((\d+)\)/#)
        #expect(tool.contains("After \(try #require(seconds).1) seconds"))
        let unseen = try source("Wire/Limits.swift").firstMatch(of: #/unseenStart = Duration.seconds\((\d+)\)/#)
        #expect(tool.contains("waits for \(try #require(unseen).1) seconds"))
        let audit = try page("policy/keybroker-audit.5")
        let reasons = audit.matches(of: #/\.It Ic ([a-z ,-]+)/#).flatMap {
            $0.1.split(whereSeparator: { " ,".contains($0) })
        }
        for reason in Reason.allCases {
            #expect(reasons.contains { $0 == reason.rawValue }, "\(reason.rawValue) is not in keybroker-audit(5)")
        }
        let lines = daemon.matches(of: #/\.It Ic ([a-z ,-]+)/#).flatMap { $0.1.split(separator: " ") }
        for name in StatusName.allCases {
            #expect(lines.contains { $0 == name.rawValue }, "\(name.rawValue) is not in keybrokerd(8)")
        }
        let limits = try source("Wire/Limits.swift").replacing("_", with: "")
        for (name, text) in [
            ("connections", "all callers together Ta 1024"), ("connectionsPerUser", "per user Ta 64"),
            ("requestsPerSecond", "per user Ta 100"), ("backlog", "accepted Ta 128"),
            ("refusalsPerSecond", "a reply a second, per user Ta 100"),
            ("packetBytes", "packet Ta 4096 bytes"),
            ("policyLineBytes", "policy Ta 1024 bytes"), ("connectionsPerStranger", "no line names Ta 1"),
            ("administratorsPlaces", "administrators Ta 16"), ("unreadPerUser", "at a time, per user Ta 64"),
            ("watchesPerUser", "at a time, per user Ta 32"), ("channels", "all users together Ta 4096"),
            ("channelsPerUser", "channels at a time, per user Ta 64"), ("channelClones", "channel at a time Ta 64"),
            ("channelEndsPerUser", "ends of signing channels at a time, per user Ta 2048"),
            ("crowdRecordsAtOnce", "at once Ta 200"),
            ("groupGrantsAtOnce", "at once Ta 1000"),
            ("policyErrors", "policy that are listed Ta 100"),
            ("policyNeverPairs", "for its key Ta 1000000"), ("statusCallers", "one by one Ta 64"),
            ("credentials", "all units together Ta 16"), ("credentialsPerUnit", "a time, per unit Ta 4"),
            ("credentialsPerSecond", "a second, per unit Ta 100"),
        ] {
            let number = text.split(separator: " ").first { $0.allSatisfy(\.isNumber) } ?? ""
            #expect(limits.contains(try Regex("let \(name) = \(number)[\n,]")), "\(name)")
            #expect(daemon.contains(text), "\(text)")
        }
    }
}
