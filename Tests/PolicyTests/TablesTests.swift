// The tables that a policy is kept in: against the same policy in plain collections.

import TestSupport
import Testing
import Wire

@testable import Policy

struct TablesTests {
    @Test func groupsKeepTheOrderOfTheirMembers() {
        let groups = Groups([5, 4, 3, 2, 1, 0] as [UInt32], of: 3) { $0 % 3 }
        #expect(groups.members == [3, 0, 4, 1, 5, 2])
        #expect(Array(groups[1]) == [4, 1])
        #expect(groups[3].isEmpty && groups[Tables.none].isEmpty && Groups()[0].isEmpty)
    }

    /// A word knows its line and its file, whatever stands around it.
    @Test func aPlaceIsThatOfItsFile() {
        func text(_ file: String, _ text: String) -> PolicyText { PolicyText(file: file, bytes: Array(text.utf8)) }
        let reading = read(
            [
                text("empty", ""), text("a", "key a /a\n\npermit 1 key a"), text("none", ""), text("b", "\tkey b /b"),
                text("last", "permit 1 key b\npermit 1 key b  \n"),
            ], in: machine)
        #expect(
            reading.diagnostics.map(\.lines) == [
                [
                    "last:2:14: warning: 'b' for 1 adds nothing: last:1 permits that already", "permit 1 key b  ",
                    "             ^",
                ]
            ])
        let places = reading.policy?.keys.values.map(\.location.description)
        #expect(places == ["a:1", "b:1"])
        #expect(reading.policy?.rules.flatMap { $0.value.map(\.location.description) } == ["a:3", "last:1", "last:2"])
    }

    @Test func aLongPolicyIsTheSumOfItsLines() throws {
        var random = Seeded(state: 1)
        let count = 3000
        var text = ""
        var linesOf: [UInt32: [String: Int]] = [:]
        for line in 1...count { text += "key k\(line) /k/\(line)\n" }
        for line in count + 1...3 * count {
            let (uid, key) = (
                UInt32.random(in: 1...40, using: &random), "k\(Int.random(in: 1...count, using: &random))"
            )
            text += "permit \(uid) key \(key)\n"
            if linesOf[uid]?[key] == nil { linesOf[uid, default: [:]][key] = line }
        }
        let policy = try #require(
            read([PolicyText(file: "p", bytes: Array(text.utf8))], in: machine, warns: false).policy)
        #expect(policy.keys.count == count && policy.permissions == 2 * count)
        var wrong: [String] = []
        for uid in 0...41 as ClosedRange<UInt32> {
            let caller = Caller(uid: uid, groups: [], unit: nil)
            let expected = linesOf[uid] ?? [:]
            #expect(policy.keys(for: caller).map(\.description) == expected.keys.sorted())
            for number in 1...count {
                let name = "k\(number)"
                let isRight =
                    switch policy.verdict(on: try #require(KeyName(name)), for: caller) {
                    case .permitted(let key, let rule):
                        key.source == .file("/k/\(number)") && rule.location.line == expected[name]
                    case .denied(let denial): denial == .noRule && expected[name] == nil
                    }
                if !isRight { wrong.append("\(uid) \(name)") }
            }
        }
        #expect(wrong.isEmpty)
        #expect(policy.key(try #require(KeyName("none"))) == nil)
    }
}
