// The library's documentation names every public type, and nothing that does not exist.

import Foundation
import TestSupport
import Testing

struct CatalogueTests {
    private let folder = projectFolder.appendingPathComponent("Sources/KeyBrokerClient")

    private func sources() throws -> String {
        try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".swift") }
            .map { try String(contentsOf: folder.appendingPathComponent($0), encoding: .utf8) }.joined()
    }

    @Test func theLandingPage() throws {
        let page = try String(
            contentsOf: folder.appendingPathComponent("KeyBrokerClient.docc/KeyBrokerClient.md"), encoding: .utf8)
        let sources = try sources()
        let declared = sources.matches(of: #/\bpublic (?:[a-z]+ )*(?:struct|enum|class|func|let|var) (\w+)/#).map(\.1)
        let cases = sources.matches(of: #/\n    case (\w+)(?=[\(\n])/#).map(\.1)
        let known = Set(declared + cases + ["KeyBrokerClient", "init"])
        let linked = page.matches(of: #/``([\w\/():]+)``/#).map(\.1)
        #expect(linked.count > 10)
        for link in linked {
            for part in link.split(separator: "/") {
                #expect(known.contains(part.prefix { $0 != "(" }), "\(link)")
            }
        }
        for type in sources.matches(of: #/\npublic (?:struct|enum|class) (\w+)/#) {
            #expect(page.contains("- ``\(type.1)``\n"), "\(type.1) is not among the topics")
        }
    }

    /// The pages are built from what was built with the tests. A link to nothing is an error.
    @Test func thePagesAreBuilt() throws {
        let build = URL(fileURLWithPath: Program.built("keybrokerd")).deletingLastPathComponent().path
        guard FileManager.default.fileExists(atPath: "\(build)/Modules/KeyBrokerClient.swiftmodule") else {
            return print("skipped: another package manager has built this")
        }
        let pages = TemporaryFolder("pages")
        let docc = try Program.run(
            projectFolder.appendingPathComponent(".ci/library-pages").path, [build, pages["out"]],
            environment: ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? ""], directory: projectFolder.path)
        #expect(docc.status == 0, "\(docc.output)\(docc.errors)")
        let symbols = try FileManager.default.contentsOfDirectory(
            atPath: pages["out/data/documentation/keybrokerclient"])
        #expect(symbols.contains("keybroker.json") && symbols.contains("secretbytes.json"), "\(symbols)")
    }
}
