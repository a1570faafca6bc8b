// The pages for programs in other languages have what the sources have: texts, limits, functions, versions.

import Foundation
import TestSupport
import Testing
import Wire

struct ClientPagesTests {
    private func text(_ path: String) throws -> String {
        try String(contentsOf: projectFolder.appendingPathComponent(path), encoding: .utf8)
    }

    /// A page as one line, without its macros' signs.
    private func words(_ path: String) throws -> String {
        try text(path).replacing(#/\n\.[A-Z][a-z] /#, with: " ").replacing("\n", with: " ").replacing("\\ ", with: " ")
    }

    /// The parts of a Swift string literal that never change.
    private func parts(_ literal: Substring) -> [String] {
        literal.replacing(#/\\\((?:[^()"]|\([^()]*\))*\)/#, with: "|").split(separator: "|").map(String.init)
            .filter { $0.split(separator: " ").count > 1 }
    }

    @Test func theProtocolsPageHasEveryErrorText() throws {
        let page = try words("systemd/keybroker-protocol.7")
        let errors = try text("Sources/KeyBrokerClient/KeyBrokerError.swift")
        let start = try #require(errors.range(of: "public var description"))
        let end = try #require(errors.range(of: "public var exitStatus"))
        // The texts for administrators are not of the protocol's clients.
        let described = errors[start.upperBound..<end.lowerBound]
            .replacing(#/case \.notAdministrator[^\n]*\n[^\n]*\n/#, with: "").replacing(#/"\s*\+\s*"/#, with: "")
        var literals = described.matches(of: #/"((?:[^"\\]|\\.)*)"/#).map(\.1)
        let connection = try text("Sources/KeyBrokerClient/Connection.swift").replacing(#/"\s*\+\s*"/#, with: "")
        literals += connection.matches(of: #/protocolViolation\(\s*"((?:[^"\\]|\\.)*)"/#).map(\.1)
            .filter { $0 != "no descriptor came with the reply" }
        literals += try text("Sources/KeyBrokerClient/KeyBroker.swift")
            .matches(of: #/protocolViolation\("((?:[^"\\]|\\.)*)"/#).map(\.1)
        literals += try text("Sources/Wire/KeyName.swift").matches(of: #/return "((?:[^"\\]|\\.)*)"/#).map(\.1)
        #expect(literals.count > 20)
        for literal in literals {
            for part in parts(literal) {
                #expect(page.contains(part.trimmingCharacters(in: .whitespaces)), "\(literal): '\(part)'")
            }
        }
        for text in try text("Sources/Wire/Request.swift").matches(of: #/case \.\w+: "((?:[^"\\]|\\.)*)"/#).map(\.1) {
            // The list of verbs grows.
            for part in parts(text.prefix { $0 != ";" }) { #expect(page.contains(part), "\(text)") }
        }
    }

    @Test func theProtocolsPageHasTheLimits() throws {
        let page = try words("systemd/keybroker-protocol.7")
        for (limit, text) in [
            ("\(Limits.packetBytes)", "at most 4096 bytes"), ("\(KeyName.longest)", "1 to 63 characters"),
            ("\(Limits.reply)", "did not answer within 10.0 seconds"), ("\(Limits.idle)", "for 30 seconds"),
            ("\(Limits.listedNames)", "more than 1000000 names"), ("\(Limits.keyBytes >> 20) MiB", "more than 1 MiB"),
            ("\(Limits.longestBusy)", "after an hour at most"),
            ("\(Limits.signature)", "no signature within 1.0 seconds"),
        ] {
            #expect(page.contains(text), "\(limit)")
        }
        #expect(Limits.packetBytes == 4096 && Limits.reply == .seconds(10) && Limits.idle == .seconds(30))
        #expect(Limits.listedNames == 1_000_000 && Limits.keyBytes == 1 << 20 && Limits.longestBusy == .seconds(3600))
        #expect(Limits.signature == .seconds(1))
        let header = try text("Sources/Clients/C/keybroker.h")
        #expect(header.contains("keybroker__packet = 4096, keybroker__reply_ms = 10000"))
        #expect(header.contains("keybroker__names = 1000000"))
        #expect(header.contains("#define KEYBROKER_KEY_BYTES 1048576\n"))
        #expect(header.contains("#define KEYBROKER_NAME_ROOM 64\n"))
        let python = try text("Sources/Clients/Python/src/keybroker/_wire.py")
        #expect(python.contains("PACKET_BYTES = 4096\n") && python.contains("REPLY = 10.0\n"))
        #expect(python.contains("LONGEST_BUSY = 3_600_000\n"))
    }

    @Test func thePageOfTheHeaderHasAllThatItHas() throws {
        let page = try text("systemd/keybroker.3")
        let header = try text("Sources/Clients/C/keybroker.h")
        let declared = header.prefix(upTo: try #require(header.range(of: "#endif /* KEYBROKER_H */")).lowerBound)
        let functions = declared.matches(of: #/\b(keybroker_\w+)\(/#).map(\.1)
        #expect(functions.count > 10)
        for function in functions {
            let usage = try Regex("\\.F[no] \(function)\\b")
            #expect(page.contains(".Nm \(function)") && page.contains(usage), "\(function)")
        }
        for result in declared.matches(of: #/\n    (KEYBROKER_\w+)(?: = 0)?,?\n/#).map(\.1) {
            #expect(page.contains("Dv \(result)\n") || page.contains("Dv \(result) ,\n"), "\(result)")
        }
    }

    @Test func theClientsHaveTheVersionOfTheProgram() throws {
        for (file, line) in [
            ("C/keybroker.h", "#define KEYBROKER_VERSION \"\(version)\"\n"),
            ("Python/pyproject.toml", "\nversion = \"\(version)\"\n"),
            ("Python/src/keybroker/__init__.py", "\n__version__ = \"\(version)\"\n"),
        ] {
            #expect(try text("Sources/Clients/\(file)").contains(line), "\(file) is not of \(version)")
        }
    }
}
