// Checks the project's rules that can be seen in its text: where `unsafe` may be used, what the daemon consists of, and
// which target may import which.

import Foundation
import TestSupport
import Testing
import Wire

struct HouseTests {
    private static let sources = projectFolder.appendingPathComponent("Sources")

    private func swiftFiles(_ folder: URL) throws -> [(path: String, lines: [Substring])] {
        let names = FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? []
        return try names.filter { $0.hasSuffix(".swift") }.sorted().map { name in
            let data = try Data(contentsOf: folder.appendingPathComponent(name))
            return (
                name, String(decoding: data, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
            )
        }
    }

    /// The code of a line, without its comment and its string literals.
    private func code(_ line: Substring) -> String {
        let withoutTexts = line.replacing(#/"([^"\\]|\\.)*"/#, with: "\"\"")
        return String(withoutTexts.split(separator: "//", maxSplits: 1, omittingEmptySubsequences: false)[0])
    }

    /// The targets that wrap C: Kernel for the daemon, the others for programs that are not part of it.
    private static let wrappers = [
        "Kernel/", "Digest/", "NameLookup/", "FileReading/", "ClientKernel/", "LocalTime/", "PEM/", "TLS/", "Streams/",
        "SigningKeys/", "Gzip/", "Interaction/",
    ]

    @Test func unsafeStandsWhereCIsWrapped() throws {
        let files = try swiftFiles(Self.sources)
        #expect(files.count > 30)
        let unsafeWord = #/\bunsafe\b|@unsafe|Unsafe[A-Z]\w*|unsafeBitCast|withUnsafe|_unsafe|nonisolated\(unsafe\)/#
        for (path, lines) in files where !Self.wrappers.contains(where: path.hasPrefix) {
            for (number, line) in lines.enumerated() where code(line).contains(unsafeWord) {
                Issue.record("\(path):\(number + 1) is in a target that wraps no C: \(line)")
            }
        }
    }

    /// Above each `unsafe` expression, in the same paragraph, a comment says why it is safe.
    @Test func everyUnsafeExpressionSaysWhyItIsSafe() throws {
        for (path, lines) in try swiftFiles(Self.sources) {
            for (number, line) in lines.enumerated() where code(line).contains(#/\bunsafe\b/#) {
                let above = lines[..<number].reversed().prefix { !$0.allSatisfy(\.isWhitespace) }.prefix(16)
                let isExplained = above.contains { $0.contains("// Safety:") }
                #expect(isExplained, "\(path):\(number + 1): \(line)")
            }
        }
    }

    @Test func nothingIsForced() throws {
        // Finds forced unwraps, tries and casts, but not `!=` or a negation.
        let forced = #/[\w\)\]]!(?![=])|\btry!|\bas!|\bfatalError\b|\bassumeUnwrapped\b/#
        for (path, lines) in try swiftFiles(Self.sources) {
            for (number, line) in lines.enumerated() where code(line).contains(forced) {
                Issue.record("\(path):\(number + 1): \(line)")
            }
        }
    }

    /// Where /proc is not mounted the Swift runtime knows no arguments. `ProgramArguments` does.
    @Test func theArgumentsComeFromOnePlace() throws {
        let fromTheRuntime = #/\bCommandLine\b|\bProcessInfo\b|\bmain\(nil\)|\bparse(AsRoot|OrExit)?\(\)|\.main\(\)/#
        for (path, lines) in try swiftFiles(Self.sources) {
            for (number, line) in lines.enumerated() where code(line).contains(fromTheRuntime) {
                Issue.record("\(path):\(number + 1) asks the Swift runtime for arguments: \(line)")
            }
        }
        for program in [
            "keybroker/KeyBrokerTool", "keybroker-tls-demo/Start", "keybrokerd/Start", "keybroker-signer/Start",
        ] {
            #expect(try source("\(program).swift").contains("ProgramArguments.all"), "\(program)")
        }
    }

    @Test func everyFileSaysWhatItIsFor() throws {
        for (path, lines) in try swiftFiles(Self.sources) {
            #expect(lines.first?.hasPrefix("// ") == true, "\(path) opens without saying what it is for")
            #expect(lines.count <= 301, "\(path) has more than 300 lines")
        }
    }

    /// Which module may import which, as ARCHITECTURE.md lists it.
    static let arrows: [String: Set<String>] = [
        "Wire": [], "Kernel": ["CKernel", "Glibc", "Synchronization"], "Digest": ["CCrypto"], "Policy": ["Wire"],
        "NameLookup": ["CKernel", "Kernel", "Glibc", "Synchronization"],
        "PolicyLoading": ["Policy", "NameLookup", "Digest", "Kernel", "Wire"], "Audit": ["Digest", "Wire", "Kernel"],
        "Keys": ["PolicyLoading", "Policy", "NameLookup", "Wire", "Kernel", "Synchronization"],
        "FileReading": ["CKernel", "Kernel", "Glibc"], "Gzip": ["CZlib", "FileReading", "Kernel"],
        "LocalTime": ["Kernel", "Glibc"], "Interaction": ["CKernel", "Kernel", "Glibc"],
        "PolicyReview": ["Policy", "Wire"],
        "AuditReading": ["Audit", "Gzip", "FileReading", "LocalTime", "Policy", "Wire", "Kernel"],
        "Broker": ["Keys", "PolicyLoading", "Policy", "Audit", "SignerControl", "Wire", "Kernel"],
        "keybrokerd": [
            "Broker", "Keys", "PolicyLoading", "Policy", "Audit", "SignerControl", "NameLookup", "Wire", "Kernel",
        ],
        "SignerControl": ["Wire", "Kernel"], "SigningKeys": ["CCrypto", "PEM", "Wire"],
        "keybroker-signer": ["SignerControl", "SigningKeys", "ClientKernel", "Wire", "Kernel", "Synchronization"],
        "ClientKernel": ["CKernel", "Kernel", "Glibc"],
        "KeyBrokerClient": ["ClientKernel", "Wire", "Kernel", "Dispatch", "Synchronization"],
        "KeyBrokerClientFoundation": ["KeyBrokerClient", "Foundation"], "PEM": ["CCrypto", "Digest"],
        "Launching": ["KeyBrokerClient", "PEM", "ClientKernel", "Wire", "Kernel"],
        "keybroker": [
            "KeyBrokerClient", "Launching", "ClientKernel", "AuditReading", "FileReading", "Interaction", "LocalTime",
            "PolicyReview",
            "PolicyLoading", "Policy", "NameLookup", "Digest", "Wire", "Kernel", "ArgumentParser",
        ],
        "TLS": ["COpenSSL", "PEM", "Kernel", "Glibc"], "Streams": ["Kernel", "Glibc"],
        "keybroker-tls-demo": [
            "KeyBrokerClient", "TLS", "PEM", "Streams", "NameLookup", "Kernel", "Wire", "ArgumentParser",
        ],
    ]

    private static func closure(of target: String) -> Set<String> {
        var closure: Set<String> = []
        var open = [target]
        while let target = open.popLast() {
            guard closure.insert(target).inserted else { continue }
            open += arrows[target] ?? []
        }
        return closure
    }

    @Test func arrowsPointDown() throws {
        for target in try FileManager.default.contentsOfDirectory(atPath: Self.sources.path).sorted() {
            let files = try swiftFiles(Self.sources.appendingPathComponent(target))
            if files.isEmpty { continue }
            let allowed = try #require(Self.arrows[target], "\(target) has no place in the house")
            for (path, lines) in files {
                for line in lines {
                    guard let match = line.firstMatch(of: #/^(?:\w+ |@\w+ )*import (?:struct |func )?(\w+)/#) else {
                        continue
                    }
                    #expect(allowed.contains(String(match.1)), "\(target)/\(path): \(line)")
                }
            }
        }
    }

    /// The daemon contains neither Foundation nor third-party code, in its sources and in what it links.
    @Test func theDaemonsClosureIsItsOwn() throws {
        let expected: Set = [
            "keybrokerd", "Broker", "Keys", "PolicyLoading", "Policy", "Audit", "SignerControl", "NameLookup", "Digest",
            "Wire", "Kernel", "CKernel", "CCrypto", "Glibc", "Synchronization",
        ]
        #expect(Self.closure(of: "keybrokerd") == expected)
        // A program that uses the library does not link libcrypto because of it.
        #expect(Self.closure(of: "KeyBrokerClient").isDisjoint(with: ["Digest", "CCrypto", "COpenSSL", "CZlib"]))
        let linked = try Program.run("/usr/bin/ldd", [Program.built("keybrokerd")])
        #expect(linked.status == 0)
        #expect(linked.output.contains("libcrypto"))
        for unwanted in ["Foundation", "libssl", "ArgumentParser"] {
            #expect(!linked.output.contains(unwanted), "\(linked.output)")
        }
        // libcrypto of OpenSSL 3.5 needs libz itself; the daemon does not.
        let needed = try Program.run(installed("readelf") ?? "readelf", ["--dynamic", Program.built("keybrokerd")])
            .output
        #expect(needed.contains("[libcrypto.so") && !needed.contains("[libz"), "\(needed)")
    }

    @Test func everyTargetIsBuiltStrictly() throws {
        let manifest = try String(contentsOf: projectFolder.appendingPathComponent("Package.swift"), encoding: .utf8)
        for setting in [".swiftLanguageMode(.v6)", ".strictMemorySafety()", ".treatAllWarnings(as: .error)"] {
            #expect(manifest.contains(setting))
        }
        let declared = manifest.split(separator: #/\.(?:executableTarget|target|testTarget)\(/#).dropFirst()
        #expect(declared.count > 15)
        for target in declared
        where !target.contains("\"CKernel\"),") && !target.hasPrefix("\n            name: \"CKernel\"") {
            #expect(target.contains("swiftSettings: strict"), "\(target)")
        }
    }

    @Test func noPathOfOneMachineIsInAFile() throws {
        guard let git = installed("git") else { return print("skipped: git is not installed") }
        let tracked = try Program.run(git, ["-C", projectFolder.path, "ls-files", "-z"])
        guard tracked.status == 0 else { return }
        for name in tracked.output.split(separator: "\0") {
            let data = try? Data(contentsOf: projectFolder.appendingPathComponent(String(name)))
            let text = String(decoding: data ?? Data(), as: UTF8.self)
            for path in ["/wo" + "rk/", "/ro" + "ot/", "/opt/sw" + "ift"] {
                #expect(!text.contains(path), "\(name) names \(path)")
            }
        }
    }

    // MARK: Manual pages

    private func page(_ path: String) throws -> String {
        try String(contentsOf: projectFolder.appendingPathComponent(path), encoding: .utf8)
    }

    private func source(_ path: String) throws -> String {
        try String(contentsOf: Self.sources.appendingPathComponent(path), encoding: .utf8)
    }

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
        for (_, lines) in try swiftFiles(Self.sources.appendingPathComponent("keybrokerd")) {
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
