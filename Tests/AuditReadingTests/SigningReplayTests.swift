// What another policy changes for signing channels, for random policies and histories: exactly the requests change that it
// would decide otherwise, or for less. What is expected is counted record by record, without a question or a sum.

import AuditReading
import Policy
import TestSupport
import Testing
import Wire

struct SigningReplayTests {
    private let folder = TemporaryFolder("signing-replay")
    private let unmapped: (uid: UInt32, gid: UInt32) = (65_534, 65_534)
    private static let units = ["a.service", "b.service"]
    private static let clauses = ["", " for tls-server", " for tls-client", " for tls-server tls-client"]

    private func randomPolicy(_ random: inout Seeded) throws -> Policy {
        var lines = ["key k /k", "key l /l"]
        for _ in 0..<Int.random(in: 0...6, using: &random) {
            let who = ["1", "2", ":10", ":11", "unit:a.service"].randomElement(using: &random) ?? ""
            let unit = who.hasPrefix("unit:") || Bool.random(using: &random) ? "" : " unit b.service"
            let clause = Self.clauses.randomElement(using: &random) ?? ""
            lines.append("permit \(who)\(unit) sign \(Bool.random(using: &random) ? "k" : "l")\(clause)")
        }
        let bytes = Array(lines.map { $0 + "\n" }.joined().utf8)
        let reading = read([PolicyText(file: "p", bytes: bytes)], in: numbersOnly)
        return try #require(reading.policy, "\(lines) \(reading.diagnostics)")
    }

    private func uses(_ policy: Policy, _ key: KeyName, _ caller: Caller) -> SigningUses? {
        guard case .permitted(_, let uses, _) = policy.signingVerdict(on: key, for: caller) else { return nil }
        return uses
    }

    /// By the words of the manual page: whether all may still be signed that could be signed before.
    private func isLess(_ now: SigningUses?, than before: SigningUses) -> Bool {
        guard let now else { return true }
        if now.contains(.anything) { return false }
        return before.contains(.anything) || before.words.contains { !now.words.contains($0) }
    }

    @Test func exactlyWhatWouldBeDecidedOtherwiseChanges() throws {
        var sums = (lost: 0, gained: 0, same: 0)
        for seed in 0..<200 as Range<UInt64> {
            var random = Seeded(state: seed)
            let (old, new) = (try randomPolicy(&random), try randomPolicy(&random))
            var (lost, gained) = (0, 0)
            let records = try (1...30).map { number in
                let key = try #require(KeyName(Bool.random(using: &random) ? "k" : "l"))
                let uid = UInt32.random(in: 1...3, using: &random)
                let groups = ([10, 11] as [UInt32]).filter { _ in Bool.random(using: &random) }
                let unit = Bool.random(using: &random) ? Self.units.randomElement(using: &random) : nil
                let caller = Caller(uid: uid, gid: 9, groups: groups, unit: unit, unmapped: unmapped)
                let (before, after) = (uses(old, key, caller), uses(new, key, caller))
                var decision = #""decision":"denied","reason":"no-rule""#
                if let before {
                    lost += isLess(after, than: before) ? 1 : 0
                    decision =
                        #""decision":"granted","reason":"permitted""#
                        + (before.words.isEmpty ? "" : #","uses":"\#(before.words.joined(separator: " "))""#)
                } else {
                    gained += after == nil ? 0 : 1
                }
                return #""seq":\#(number),"time":"2026-11-24T00:00:00.000000Z","event":"request","verb":"sign","#
                    + #"\#(decision),"key":"\#(key)","uid":\#(uid),"gid":9,"#
                    + #""groups":[\#(groups.map(String.init).joined(separator: ","))]"#
                    + (unit.map { #","unit":"\#($0)""# } ?? "")
            }
            let requests = try requests(records, in: folder)
            let changes = requests.changes(under: new, unmapped: unmapped)
            func count(_ isGain: Bool) -> Int {
                changes.filter { $0.isGain == isGain }.reduce(0) { $0 + $1.requests }
            }
            #expect(count(false) == lost && count(true) == gained, "seed \(seed)")
            #expect(requests.changes(under: old, unmapped: unmapped).isEmpty, "seed \(seed)")
            sums = (sums.lost + lost, sums.gained + gained, sums.same + (changes.isEmpty ? 1 : 0))
        }
        #expect(sums.lost > 100 && sums.gained > 100 && sums.same > 0)
    }
}
