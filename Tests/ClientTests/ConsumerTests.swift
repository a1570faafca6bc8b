// The library as another package sees it: nothing else is fetched for it, and what the pages show compiles without a
// warning.

import Foundation
import KeyBrokerClient
import KeyBrokerClientFoundation
import TestSupport
import Testing

@Suite struct ConsumerTests {
    private let folder = TemporaryFolder("consumer")

    /// The Swift blocks of a page, each as a function of its own. A block with `await` is one for tasks.
    private func functions(of page: String) throws -> [String] {
        let text = try String(contentsOf: projectFolder.appendingPathComponent(page), encoding: .utf8)
        return text.matches(of: #/\n```swift\n((?s:.*?))\n```/#).enumerated().map { index, block in
            var lines = block.1.split(separator: "\n").filter { !$0.hasPrefix("import ") }
            // A part of a program that ends with what it got goes on here.
            if lines.last?.hasPrefix("let key ") == true { lines.append("print(key.decision)") }
            let effects = lines.contains { $0.firstMatch(of: #/^[^\/]*\bawait\b/#) != nil } ? "async throws" : "throws"
            return "func block\(index)() \(effects) {\n\(lines.joined(separator: "\n"))\n}\n"
        }
    }

    /// The line of README, with this project in the place of the repository's address.
    private func dependency() throws -> String {
        let readme = try String(contentsOf: projectFolder.appendingPathComponent("README.md"), encoding: .utf8)
        let line = try #require(readme.firstMatch(of: #/\.package\(url: "[^"]*", branch: "main", (traits: \[\])\)/#))
        return ".package(name: \"keybroker\", path: \"\(projectFolder.path)\", \(line.1))"
    }

    @Test func thePagesCompileAndNothingElseIsFetched() throws {
        let swift = try #require(Self.swift, "no swift on the PATH")
        try folder.directory("Sources/README")
        try folder.directory("Sources/Catalogue")
        try folder.write(
            "Package.swift",
            """
            // swift-tools-version: 6.2
            import PackageDescription
            func pages(_ name: String) -> Target {
                .target(
                    name: name,
                    dependencies: [
                        .product(name: "KeyBrokerClient", package: "keybroker"),
                        .product(name: "KeyBrokerClientFoundation", package: "keybroker"),
                    ], swiftSettings: [.treatAllWarnings(as: .error)])
            }
            let package = Package(
                name: "consumer", dependencies: [\(try dependency())], targets: [pages("README"), pages("Catalogue")])

            """)
        let preamble = """
            import Glibc
            import KeyBrokerClient
            struct Server {
                func use(privateKey: [UInt8]) throws {}
                func use(privateKey: UnsafeRawBufferPointer) throws {}
                func use(certificates: [UInt8]) throws {}
            }
            let server = Server()

            """
        for (target, page, least) in [
            ("README", "README.md", 2),
            ("Catalogue", "Sources/KeyBrokerClient/KeyBrokerClient.docc/KeyBrokerClient.md", 6),
        ] {
            let blocks = try functions(of: page)
            #expect(blocks.count >= least)
            try folder.write("Sources/\(target)/Blocks.swift", preamble + blocks.joined(separator: "\n"))
        }
        let build = try Program.run(
            swift, ["build", "--package-path", folder.path, "--disable-automatic-resolution"],
            environment: ["HOME": folder.path], seconds: 600)
        #expect(build.status == 0, "\(build.output)\(build.errors)")
        #expect(!build.output.contains("argument-parser") && !build.errors.contains("argument-parser"))
        #expect(!FileManager.default.fileExists(atPath: folder[".build/checkouts/swift-argument-parser"]))
        #expect(!FileManager.default.fileExists(atPath: folder["Package.resolved"]))
    }

    private static let swift: String? =
        (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/swift" }
        .first { FileManager.default.isExecutableFile(atPath: $0) } ?? installed("swift")

    @Test func foundationShowsTheText() {
        let error: any Error = KeyBrokerError.denied(key: "web-tls", decision: 13)
        #expect(error.localizedDescription == KeyBrokerError.denied(key: "web-tls", decision: 13).description)
        #expect(error.localizedDescription.hasSuffix("keybroker audit show --seq 13"))
    }
}
