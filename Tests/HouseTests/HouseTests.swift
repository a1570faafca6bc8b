// The project's rules that can be seen in its code: where `unsafe` may be used, what must not be written at all, and how each
// file begins.

import Foundation
import TestSupport
import Testing

struct HouseTests {
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
        let files = try swiftFiles(sources)
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
        for (path, lines) in try swiftFiles(sources) {
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
        for (path, lines) in try swiftFiles(sources) {
            for (number, line) in lines.enumerated() where code(line).contains(forced) {
                Issue.record("\(path):\(number + 1): \(line)")
            }
        }
    }

    /// Where /proc is not mounted the Swift runtime knows no arguments. `ProgramArguments` does.
    @Test func theArgumentsComeFromOnePlace() throws {
        let fromTheRuntime = #/\bCommandLine\b|\bProcessInfo\b|\bmain\(nil\)|\bparse(AsRoot|OrExit)?\(\)|\.main\(\)/#
        for (path, lines) in try swiftFiles(sources) {
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
        for (path, lines) in try swiftFiles(sources) {
            #expect(lines.first?.hasPrefix("// ") == true, "\(path) opens without saying what it is for")
            #expect(lines.count <= 301, "\(path) has more than 300 lines")
        }
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
}
