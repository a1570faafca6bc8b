// Differences by meaning: the list is empty exactly if no caller's verdict changes.

import TestSupport
import Testing
import Wire

@testable import Policy
@testable import PolicyReview

struct DifferenceTests {
    private func policy(_ text: String) throws -> Policy {
        let reading = read([PolicyText(file: "p", bytes: Array(text.utf8))], in: machine)
        return try #require(reading.policy, "\(reading.diagnostics)")
    }

    private func changes(_ old: String, _ new: String) throws -> [String] {
        let keys = "key a /a\nkey b /b\n"
        return try differences(from: policy(keys + old), to: policy(keys + new)).map {
            "\($0.isGain ? "+" : "-") \($0.rule.statement)"
        }
    }

    @Test func meaningNotText() throws {
        #expect(try changes("permit www-data key a b\n", "permit 33 key b\n\npermit 33 key a # moved\n") == [])
        #expect(
            try changes("permit www-data key a\n", "permit www-data key b\n") == [
                "- permit www-data key a", "+ permit www-data key b",
            ])
        #expect(
            try changes("permit :tls-ops key a\n", "permit 200 key a\n") == [
                "- permit :tls-ops key a", "+ permit 200 key a",
            ])
        // A permission that another line already gives is no change.
        #expect(try changes("permit 33 key a\n", "permit 33 key a\npermit 33 unit x.service key a\n") == [])
        #expect(try changes("permit 33 key a\n", "permit 33 unit * key a\n") == ["- permit 33 key a"])
    }

    /// Callers notice other bytes, whoever they are.
    @Test func otherFiles() throws {
        func changed(_ old: String, _ new: String) throws -> [String] {
            try fileDifferences(from: policy(old), to: policy(new)).map {
                "\($0.new.name) \($0.old.source) \($0.new.source) \($0.new.certificate?.description ?? "-")"
            }
        }
        let old = "key b /b\nkey a /a certificate /a.crt\nkey gone /gone\nkey c credential:c\n"
        #expect(try changed(old, old.split(separator: "\n").reversed().joined(separator: "\n") + "\n") == [])
        #expect(
            try changed(old, "key c /c\nkey b /b\nkey a /a\nkey new /new\n") == ["a /a /a -", "c credential:c /c -"])
        #expect(try changed(old, "key a /a certificate /new.crt\nkey b /b certificate /b.crt\n").count == 2)
    }

    /// A line about a whole unit covers the lines about accounts in that unit, and no line about an account covers it.
    @Test func aWholeUnitIsMoreThanAnAccountInIt() throws {
        let (whole, account) = ("permit unit:x*.service key a\n", "permit 33 unit xy.service key a\n")
        #expect(try changes(whole, whole + account).isEmpty)
        #expect(try changes(account, whole) == ["+ permit unit:x*.service key a"])
        #expect(try changes(whole, "permit 33 unit x*.service key a\n").first == "- permit unit:x*.service key a")
        #expect(try changes(whole, whole + "permit 33 key a\n") == ["+ permit 33 key a"])
        #expect(try changes("permit unit:* key a\n", "permit unit:*.scope key a\npermit unit:*.service key a\n") == [])
    }

    @Test func unitsAreSetsOfNames() throws {
        func same(_ old: [String], _ new: [String]) throws -> Bool {
            func lines(_ units: [String]) -> String { units.map { "permit 33 unit \($0) key a\n" }.joined() }
            return try changes(lines(old), lines(new)).isEmpty
        }
        #expect(try same(["*"], ["*.service", "*.scope"]))
        #expect(try same(["a*.service"], ["a**.service"]))
        #expect(try same(["a*.service"], ["a*.service", "ab.service", "a@*.service"]))
        #expect(try !same(["a@*.service"], ["a@1.service", "a@2.service"]))
        #expect(try !same(["*"], ["*.service"]))
        #expect(try same(["*a*.service", "*b*.service"], ["*b*.service", "*a*.service", "*ab*.service"]))
        #expect(try !same(["*a*b*.service"], ["*ab*.service"]))
    }

    /// For random policies: if there is a change, some caller can be named whose verdict changes. If there is none, the
    /// verdict changes for none of the callers that are tried.
    @Test func emptyExactlyWhereNoVerdictChanges() throws {
        let patterns = [
            "", "x.service", "*", "*.service", "*.scope", "x*.service", "*x.service", "x*y.service", "*x*.service",
        ]
        let units = [
            nil, "x.service", "xy.service", "yx.service", "xay.service", "axb.service", "z.service", "x.scope",
            "zz.scope",
        ]
        var (alike, different) = (0, 0)
        for seed in 0..<1500 as Range<UInt64> {
            var random = Seeded(state: seed)
            func lines() -> String {
                (0..<Int.random(in: 0...4, using: &random)).map { _ in
                    let who = ["1", ":1", "unit:"].randomElement(using: &random) ?? "1"
                    let unit = patterns.randomElement(using: &random) ?? ""
                    if who == "unit:" { return "permit unit:\(unit.isEmpty ? "y.service" : unit) key a\n" }
                    return "permit \(who)\(unit.isEmpty ? "" : " unit \(unit)") key a\n"
                }.joined()
            }
            let (old, new) = (try policy("key a /a\n" + lines()), try policy("key a /a\n" + lines()))
            let name = try #require(KeyName("a"))
            func isPermitted(_ policy: Policy, _ caller: Caller) -> Bool {
                if case .permitted = policy.verdict(on: name, for: caller) { true } else { false }
            }
            let found = differences(from: old, to: new)
            for change in found {
                let caller =
                    switch change.rule.identity {
                    case .user(let uid): Caller(uid: uid, groups: [], unit: change.exampleUnit)
                    case .group(let gid): Caller(uid: 999, groups: [gid], unit: change.exampleUnit)
                    case .unit: Caller(unitAlone: change.exampleUnit ?? "")
                    }
                #expect(isPermitted(new, caller) == change.isGain, "seed \(seed): \(change)")
                #expect(isPermitted(old, caller) != change.isGain, "seed \(seed): \(change)")
            }
            if found.isEmpty {
                alike += 1
                for unit in units.compactMap(\.self) {
                    let caller = Caller(unitAlone: unit)
                    #expect(isPermitted(old, caller) == isPermitted(new, caller), "seed \(seed), \(caller)")
                }
                for uid in [1, 999] as [UInt32] {
                    for groups in [[], [1]] as [[UInt32]] {
                        for unit in units {
                            let caller = Caller(uid: uid, groups: groups, unit: unit)
                            #expect(isPermitted(old, caller) == isPermitted(new, caller), "seed \(seed), \(caller)")
                        }
                    }
                }
            } else {
                different += 1
            }
        }
        #expect(alike > 50 && different > 50)
    }

    /// So many patterns that the sets of their places are too many to look at.
    private func many(_ number: Int) -> String {
        let letters = Array("abcdefghijklmnopqrstuvwxyz")
        return (0..<number).map { "permit 33 unit *\(letters[$0 % 26])*\(letters[($0 + 7) % 26])*x.service key a\n" }
            .joined()
    }

    @Test func whatWouldTakeTooLongIsAChangeThatIsNotCertain() throws {
        let keys = "key a /a\n"
        let bytes = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.\\@-")
        let each = bytes.map { "permit 33 unit \($0)*.service key a\n" }.joined()
        let old = try policy(keys + many(22) + each)
        #expect(differences(from: old, to: old).isEmpty)
        // The lines that begin with a byte cover it together, and none does alone: nobody would notice.
        let new = try policy(keys + many(22) + each + "permit 33 unit *.service key a\n")
        let found = differences(from: old, to: new)
        #expect(found.map(\.rule.unit?.description) == ["*.service"])
        #expect(found.map(\.isCertain) == [false])
        #expect(found.map(\.isGain) == [true])
    }

    /// A pattern that another covers makes no difference, however many there are.
    @Test func coveredPatternsAreLeftOut() throws {
        let keys = "key a /a\n"
        let narrow = (0..<300).map { "permit 33 unit *\($0)*\($0)*.service key a\n" }.joined()
        let old = try policy(keys + narrow + "permit 33 unit *.service key a\n")
        let new = try policy(keys + "permit 33 unit *.service key a\n")
        #expect(differences(from: old, to: new).isEmpty)
        #expect(differences(from: new, to: old).isEmpty)
        let other = try policy(keys + narrow + "permit 33 unit a*.service key a\npermit 33 unit *.scope key a\n")
        #expect(differences(from: new, to: other).map(\.rule.statement).contains("permit 33 unit *.scope key a"))
    }

    /// Most differences are found without a search, even if there are many patterns.
    @Test func aPlainDifferenceIsCertain() throws {
        let old = try policy("key a /a\n" + many(300))
        let new = try policy("key a /a\n" + many(300).replacing("x.service", with: "y.service"))
        let found = differences(from: old, to: new)
        #expect(found.count == 52)
        #expect(found.allSatisfy { $0.isCertain })
    }
}
