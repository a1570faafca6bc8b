// The pages for contributors name only what exists: targets and their imports, files, and states.

import Foundation
import TestSupport
import Testing

struct ContributorPagesTests {
    private func text(_ path: String) throws -> String {
        try String(contentsOf: projectFolder.appendingPathComponent(path), encoding: .utf8)
    }

    @Test func theTargetsAreDrawnAsTheyAre() throws {
        let page = try text("ARCHITECTURE.md")
        var drawn: [String: Set<String>] = [:]
        for line in page.split(separator: "\n") {
            let cells = line.split(separator: "|", omittingEmptySubsequences: false)
            guard cells.count == 5, let target = cells[1].firstMatch(of: #/^ `([\w-]+)` $/#) else { continue }
            drawn[String(target.1)] = Set(cells[3].matches(of: #/`([\w-]+)`/#).map { String($0.1) })
        }
        let system: Set = ["Glibc", "Synchronization", "Dispatch", "Foundation"]
        for (target, arrows) in ArrowTests.arrows {
            #expect(drawn[target] == arrows.subtracting(system), "\(target)")
        }
    }

    /// A file may be named relative to the project's folder, to Sources or to Tests.
    @Test(arguments: ["ARCHITECTURE.md", "CONTRIBUTING.md"]) func everyFileThatIsNamedIsThere(_ page: String) throws {
        let named = try text(page).matches(of: #/`((?:[\w.+-]+\/)+[\w.+-]*)`|\]\(([\w.\/-]+)\)/#)
        #expect(named.count > 5)
        for name in named.compactMap({ $0.1 ?? $0.2 }) {
            let isThere = ["", "Sources/", "Tests/"].contains {
                FileManager.default.fileExists(atPath: projectFolder.appendingPathComponent($0 + name).path)
            }
            #expect(isThere, "\(page) names \(name)")
        }
    }

    /// README has a line or a word for each target, and each exit status of the tool.
    @Test func readmeNamesWhatThereIs() throws {
        let readme = try text("README.md")
        let tree = try #require(readme.firstMatch(of: #/\nSources\/\n((?s:.*?))\n```/#)).1
        for target in ArrowTests.arrows.keys {
            #expect(tree.contains(try Regex("\\b\(target)\\b(?!-)")), "\(target)")
        }
        let statuses = try #require(readme.firstMatch(of: #/\*\*Exit statuses\*\*((?s:.*?))\n\n/#)).1
        let page = try #require(try text("systemd/keybroker.1").split(separator: ".Sh EXIT STATUS\n").last)
        let numbers = page.prefix(upTo: try #require(page.range(of: "\n.El")).lowerBound)
            .matches(of: #/\.It (\d+)\n/#).map(\.1)
        #expect(numbers.count > 10)
        for number in numbers { #expect(statuses.contains(try Regex("\\b\(number)\\b")), "\(number)") }
    }

    @Test func theStatesAreDrawnAsTheyAre() throws {
        let page = try text("ARCHITECTURE.md")
        let source = try text("Sources/keybrokerd/ConnectionState.swift")
        for name in source.matches(of: #/\n    case (\w+)/#).map(\.1) {
            #expect(page.contains("`\(name)`") || page.contains(" \(name) |"), "\(name)")
        }
        var steps: Set<String> = []
        for line in source.split(separator: "\n") {
            guard let step = line.firstMatch(of: #/case (.*): \.(\w+)$/#), step.2 != "nothing" else { continue }
            for pair in step.1.matches(of: #/\(\.(\w+), \.(\w+)\)/#) { steps.insert("\(pair.2) \(pair.1) \(step.2)") }
        }
        var drawn: Set<String> = []
        for line in page.split(separator: "\n") {
            guard let event = line.firstMatch(of: #/^\| `(\w+)` (\|( \S+ \|){7})$/#) else { continue }
            let states = ["open", "waiting", "opening", "listing", "watching", "draining", "closed"]
            for (state, step) in zip(states, event.2.split(whereSeparator: { "| ".contains($0) })) where step != "–" {
                drawn.insert("\(event.1) \(state) \(step)")
            }
        }
        #expect(drawn == steps)
    }
}
