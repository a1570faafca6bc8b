// The recipes of keybroker-recipes(7), read out of the page: no test has a copy of one.
//
// Must never repair what the page says: what is tested is what the page's reader types. The reader has another version of
// PostgreSQL than the page names, if that is another release of Debian.

import Foundation
import TestSupport

/// The recipe for one service.
struct Recipe {
    /// The title of its section.
    let name: String
    /// Its examples, in the order of the page.
    let steps: [Step]

    enum Step: Equatable {
        /// A file that is made with this text, or that the text is added to.
        case file(path: String, text: String, isAdded: Bool)
        /// Commands for root.
        case rootCommands([String])
        /// Commands for the account of the service.
        case commands([String])
    }

    /// The unit that a drop-in or a file of the recipe is for. Nil if it has no unit.
    var unit: String? {
        for case .file(let path, _, _) in steps {
            if let unit = path.firstMatch(of: #/^\/etc\/systemd\/system\/([^\/]+\.service)(?:\.d\/|$)/#) {
                return String(unit.1)
            }
        }
        return nil
    }

    /// The line of policy that permits the key, or its signatures.
    var permit: (account: String, unit: String?)? {
        for case .file(let path, let text, _) in steps where path.hasPrefix("/etc/keybroker/") {
            let form = #/(?m)^permit (\S+)(?: unit (\S+))? (?:key \S+|sign \S+ for \S+)$/#
            guard let line = text.firstMatch(of: form) else { continue }
            return (String(line.1), line.2.map(String.init))
        }
        return nil
    }
}

/// keybroker-recipes(7).
struct RecipePage {
    /// The examples that all recipes have in common, before the recipes.
    let common: [Recipe.Step]
    let recipes: [Recipe]
    /// The same for services whose keys stay with the broker.
    let lentCommon: [Recipe.Step]
    let lent: [Recipe]

    static let path = projectFolder.appendingPathComponent("systemd/keybroker-recipes.7")

    init() throws {
        let folders = (try? FileManager.default.contentsOfDirectory(atPath: "/usr/lib/postgresql")) ?? []
        let version = folders.compactMap { Int($0) }.max() ?? 15
        let page = try String(contentsOf: Self.path, encoding: .utf8)
            .replacing("postgresql@15-", with: "postgresql@\(version)-")
            .replacing("/postgresql/15/", with: "/postgresql/\(version)/")
        let parts = page.split(separator: "\n.Sh ")
        func part(_ title: String) throws -> Substring {
            guard let part = parts.first(where: { $0.hasPrefix("\(title)\n") }) else {
                throw Waited(description: "the page has no section \(title)")
            }
            return part
        }
        common = try Self.steps(try part("DESCRIPTION"))
        recipes = try Self.recipes(try part("RECIPES"))
        let lent = try part("RECIPES FOR KEYS THAT STAY WITH THE BROKER")
        lentCommon = try Self.steps(lent.split(separator: "\n.Ss ")[0])
        self.lent = try Self.recipes(lent)
    }

    private static func recipes(_ part: Substring) throws -> [Recipe] {
        try part.split(separator: "\n.Ss ").dropFirst().map { section in
            let (name, text) = cut(section)
            return Recipe(name: name, steps: try steps(Substring("\n" + text)))
        }
    }

    /// The first line of a text, and the rest.
    private static func cut(_ text: Substring) -> (String, String) {
        let end = text.firstIndex(of: "\n") ?? text.endIndex
        return (String(text[..<end]), String(text[end...].dropFirst()))
    }

    /// The literal blocks of a section.
    private static func steps(_ section: Substring) throws -> [Recipe.Step] {
        try section.matches(of: #/(?s)\n\.Bd -literal -offset 3n\n(.*?\n)\.Ed/#).map { block in
            // The two escapes of roff that such a block needs.
            let text = String(block.1).replacing("\\e", with: "\\").replacing("\n\\&", with: "\n")
            let (first, rest) = cut(Substring(text))
            // The line that names the file is a comment in all languages of the page, so it stays.
            if let name = first.wholeMatch(of: #/(?:\#|\/\/) (\/[^\s,]+)(, at the end)?/#) {
                return .file(path: String(name.1), text: text, isAdded: name.2 != nil)
            }
            let lines = (first + "\n" + rest).replacing("\\\n", with: "").split(separator: "\n")
            for (prompt, step) in [("# ", Recipe.Step.rootCommands), ("$ ", Recipe.Step.commands)]
            where lines.allSatisfy({ $0.hasPrefix(prompt) }) {
                return step(lines.map { String($0.dropFirst(2)) })
            }
            throw Waited(description: "neither a file nor commands: \(first)")
        }
    }
}
