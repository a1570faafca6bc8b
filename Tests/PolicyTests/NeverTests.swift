// What `never` lines mean: a policy with them is faulty exactly if a caller that they exclude is permitted. And what a
// missing account costs: its own line.

import TestSupport
import Testing
import Wire

@testable import Policy
@testable import PolicyReview

extension Seeded {
    mutating func one<T>(of all: [T]) -> T {
        all[Int.random(in: all.indices, using: &self)]
    }

}

/// A line as the test understands it, apart from the parser.
private struct Line {
    let who: String
    var unit: String?
    let key: String
    var unless: [String] = []

    var permit: String { "permit \(who)\(unit.map { " unit \($0)" } ?? "") key \(key)\n" }
    var never: String {
        "never \(who) key \(key)\(unless.isEmpty ? "" : " unless " + unless.joined(separator: " "))\n"
    }
}

struct NeverTests {
    private static let names: [String: UInt32] = ["alice": 1, "bob": 2, "alice-too": 1]

    private static func resolver(without missing: Set<String> = []) -> Resolver {
        Resolver(
            overflowUID: 65534, overflowGID: 65534,
            user: { names[$0].map { .id($0) }.flatMap { id in missing.contains("user") ? nil : id } ?? .unknown },
            group: { name in name == "ops" && !missing.contains("group") ? .id(7) : .unknown }, fault: { _ in nil })
    }

    private func parse(_ text: String, _ resolver: Resolver, judges: Bool = true) -> ParseResult {
        read([PolicyText(file: "p", bytes: Array(text.utf8))], in: resolver, warns: false, judges: judges)
    }

    /// Whether one word for somebody fits a caller. This is written from keybroker.policy(5).
    private func fits(_ word: String, _ caller: Caller) -> Bool {
        if word == "anyone" { return caller.uid != nil || caller.isUnitAlone }
        if word.hasPrefix("unit:") {
            guard caller.uid != nil || caller.isUnitAlone, let unit = caller.unit else { return false }
            return UnitPattern(word.dropFirst(5).utf8)?.matches(unit) == true
        }
        if word.hasPrefix(":") {
            let group = word == ":ops" ? 7 : UInt32(word.dropFirst())
            return caller.uid != nil && group.map(caller.groups.contains) == true
        }
        return caller.uid != nil && caller.uid == (Self.names[word] ?? UInt32(word))
    }

    /// Everybody who could make a difference to the lines below.
    private static let callers: [Caller] = {
        let units = [nil, "x.service", "y@1.service", "y@2.service", "z.scope", "q.service"]
        var callers = units.compactMap { $0.map(Caller.init(unitAlone:)) }
        for uid in [nil, 1, 2, 3, 99] as [UInt32?] {
            for groups in [[], [7], [8], [7, 8], [9], [7, 8, 9]] as [[UInt32]] {
                callers += units.map { Caller(uid: uid, groups: groups, unit: $0) }
            }
        }
        return callers
    }()

    @Test func aPolicyIsFaultyExactlyIfAnExcludedCallerIsPermitted() throws {
        let people = [
            "alice", "bob", "1", "2", "3", ":ops", ":7", ":8", "unit:x.service", "unit:y@*.service", "unit:*",
        ]
        var (faulty, good) = (0, 0)
        for seed in 0..<600 as Range<UInt64> {
            var random = Seeded(state: seed)
            let keys = ["a", "b"]
            let permits = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                let who = random.one(of: people)
                let unit = random.one(of: [nil, nil, "x.service", "y@*.service", "*.scope", "y@1.service"])
                return Line(who: who, unit: who.hasPrefix("unit:") ? nil : unit, key: random.one(of: keys))
            }
            let nevers = (0..<Int.random(in: 1...2, using: &random)).map { _ in
                let unless = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                    random.one(of: people + ["unit:*.service", "unit:*.scope", "unit:y@1.service"])
                }
                return Line(
                    who: random.one(of: people + ["anyone", "anyone"]), key: random.one(of: keys), unless: unless)
            }
            let declared = keys.map { "key \($0) /\($0)\n" }.joined() + permits.map(\.permit).joined()
            let policy = try #require(parse(declared, Self.resolver()).policy)
            var isBroken = false
            for line in nevers {
                let name = try #require(KeyName(line.key))
                isBroken =
                    isBroken
                    || Self.callers.contains { caller in
                        fits(line.who, caller) && !line.unless.contains { fits($0, caller) }
                            && policy.explanation(of: name, for: caller).isPermitted
                    }
            }
            let text = declared + nevers.map(\.never).joined()
            let judged = parse(text, Self.resolver())
            #expect((judged.policy == nil) == isBroken, "seed \(seed):\n\(text)\(judged.diagnostics)")
            if isBroken { faulty += 1 } else { good += 1 }
            // What explain says of an excluded caller is the same.
            let unjudged = try #require(parse(text, Self.resolver(), judges: false).policy)
            for caller in Self.callers {
                for key in keys {
                    let name = try #require(KeyName(key))
                    let excluding = unjudged.explanation(of: name, for: caller).excluding
                    let expected = nevers.filter { line in
                        line.key == key && fits(line.who, caller) && !line.unless.contains { fits($0, caller) }
                    }
                    #expect(excluding.count == expected.count, "seed \(seed)")
                }
            }
        }
        #expect(faulty > 100 && good > 100, "\(faulty) faulty, \(good) good")
    }

    @Test func bothLinesAreNamed() throws {
        let result = parse(
            "key a /a\npermit :ops key a\nnever anyone key a unless alice\n", Self.resolver())
        #expect(result.policy == nil)
        #expect(
            result.diagnostics.map(\.description) == [
                """
                p:2:17: error: 'a' for :ops is excluded by p:3
                permit :ops key a
                                ^
                p:3:18: note: the line that excludes it; 'unless' names who may have it nevertheless
                never anyone key a unless alice
                                 ^
                """
            ])
    }

    /// userdel and groupdel cost the lines that name the account, and never the policy.
    @Test func aMissingAccountNeverMakesAPolicyFaulty() throws {
        let people = ["alice", "bob", "1", "3", ":ops", ":7", ":8", "unit:x.service"]
        for seed in 0..<600 as Range<UInt64> {
            var random = Seeded(state: seed)
            var text = "key a /a\n"
            for _ in 0..<Int.random(in: 0...4, using: &random) {
                text += Line(who: random.one(of: people), key: "a").permit
            }
            for _ in 0..<Int.random(in: 0...2, using: &random) {
                let unless = (0..<Int.random(in: 0...4, using: &random)).map { _ in random.one(of: people) }
                text += Line(who: random.one(of: people + ["anyone"]), key: "a", unless: unless).never
            }
            text += "limit alice connections 3\npermit bob status\nlimit :ops requests 1\n"
            guard let whole = parse(text, Self.resolver()).policy else { continue }
            for missing in [["user"], ["group"], ["user", "group"]] as [Set<String>] {
                let left = parse(text, Self.resolver(without: missing))
                let policy = try #require(left.policy, "seed \(seed): without \(missing)\n\(text)\(left.diagnostics)")
                #expect(left.missing.count == left.diagnostics.count { $0.severity == .warning })
                #expect(left.missing.count > 0)
                // Nobody gains anything, and nobody loses who is named otherwise.
                let changes = differences(from: whole, to: policy)
                #expect(!changes.contains { $0.isGain }, "seed \(seed)")
                for change in changes {
                    let isOfUser = ["alice", "bob"].contains(change.rule.writtenIdentity)
                    #expect(
                        missing.contains("user") && isOfUser || change.rule.writtenIdentity == ":ops", "seed \(seed)")
                }
            }
        }
    }

    @Test func theStatusIsPermittedByItsOwnLines() throws {
        let result = parse(
            "key a /a\npermit alice key a\npermit bob status\npermit :ops status\npermit unit:x.service status\n",
            Self.resolver())
        let policy = try #require(result.policy)
        func line(_ uid: UInt32?, _ groups: [UInt32] = [], _ unit: String? = nil) -> Int? {
            policy.statusPermit(for: Caller(uid: uid, groups: groups, unit: unit))?.location.line
        }
        #expect(line(1) == nil && line(0) == nil && line(nil, [7], "x.service") == nil)
        #expect(line(2) == 3 && line(2, [7]) == 3 && line(3, [7]) == 4 && line(3, [], "x.service") == 5)
        // The status is no key, and a key no status.
        #expect(policy.keys(for: Caller(uid: 2, groups: [7], unit: "x.service")).isEmpty)
        #expect(policy.names(.user(2)) && !policy.permits(.user(2)) && !policy.permitsUnits)
        let other = try #require(parse("permit unit:x.* status\npermit bob status\n", Self.resolver()).policy)
        let changes = statusDifferences(from: policy, to: other)
        #expect(changes.map(\.permit.statement) == ["permit :ops status", "permit unit:x.* status"])
        #expect(changes.map(\.isGain) == [false, true])
        #expect(statusDifferences(from: policy, to: policy).isEmpty)
    }

    /// What the kernel shows for all that it cannot express is no account of anybody's.
    @Test func linesAboutNobodyAreNoFaultAndNoDifference() throws {
        let key = "key a /a\n"
        for nobody in ["65534", ":65534"] {
            #expect(parse(key + "permit \(nobody) key a\nnever anyone key a\n", Self.resolver()).policy != nil)
            #expect(parse(key + "permit alice key a\nnever \(nobody) key a\n", Self.resolver()).policy != nil)
            #expect(
                parse(key + "permit alice key a\nnever anyone key a unless \(nobody)\n", Self.resolver()).policy == nil)
            let less = try #require(parse(key + "permit alice key a\n", Self.resolver()).policy)
            let more = try #require(
                parse(key + "permit alice key a\npermit \(nobody) key a\npermit \(nobody) status\n", Self.resolver())
                    .policy)
            #expect(differences(from: less, to: more).isEmpty && differences(from: more, to: less).isEmpty)
            #expect(statusDifferences(from: less, to: more).isEmpty && statusDifferences(from: more, to: less).isEmpty)
        }
        // Root may ask for the status whatever a line says, and gets a key by a line only.
        let less = try #require(parse(key, Self.resolver()).policy)
        let more = try #require(parse(key + "permit 0 key a\npermit 0 status\n", Self.resolver()).policy)
        #expect(statusDifferences(from: less, to: more).isEmpty)
        #expect(differences(from: less, to: more).map(\.rule.statement) == ["permit 0 key a"])
    }

    /// The time that a policy may take to check has a bound.
    @Test func whatCannotBeCheckedIsAFault() throws {
        var text = "key a /a\n"
        func read(_ text: String) -> ParseResult {
            var grammar = Grammar(Self.resolver())
            grammar.pairsLeft = 100
            grammar.read([PolicyText(file: "p", bytes: Array(text.utf8))])
            return grammar.finish(warns: false, judges: true)
        }
        // Lines about one user are compared with those of the same user only, and others with all.
        for uid in 1...100 { text += "permit \(uid) key a\nnever \(uid + 1000) key a\n" }
        #expect(read(text).policy != nil)
        text = "key a /a\n" + String(repeating: "permit unit:x.service key a\n", count: 10)
        text += String(repeating: "never anyone key a unless unit:x.service\n", count: 10)
        #expect(read(text).policy != nil)
        let result = read(text + "never anyone key a unless unit:x.service\n")
        #expect(result.policy == nil)
        #expect(
            result.diagnostics.map(\.message) == ["there are too many lines about key 'a' to check this one"])
    }

    /// The two patterns take a long search. It is made once: so often, it would take longer than all searches may.
    @Test func manyKeysOfTheSameLinesAreTold() throws {
        let run = String(repeating: "E", count: 40)
        let permitted = try #require(UnitPattern("a*ja2j-\(run)limit\(run)D*.ssion-*.42\(run)p.scope".utf8))
        let excluded = try #require(
            UnitPattern("as\(run)limit\(run)D*.ssion-*.42\(run)pE*.serviceE\(run)D*.ssion-*.43\(run)on-*.scope".utf8))
        var limits = SearchLimits()
        for _ in 0..<1000 {
            guard case .named(let name) = unit(of: [permitted, excluded], butOfNone: [], within: &limits) else {
                Issue.record("not told")
                return
            }
            #expect(permitted.matches(name) && excluded.matches(name))
        }
    }
}
