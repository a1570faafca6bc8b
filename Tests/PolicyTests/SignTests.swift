// Lines that permit signatures: what they permit, and that they permit nothing else.

import TestSupport
import Testing
import Wire

@testable import Policy
@testable import PolicyReview

struct SignTests {
    private func policy(_ text: String) throws -> Policy {
        let reading = read([PolicyText(file: "p", bytes: Array(text.utf8))], in: machine)
        return try #require(reading.policy, "\(reading.diagnostics)")
    }

    private func key(_ name: String) throws -> KeyName { try #require(KeyName(name)) }

    /// What may be signed, and by which line; or why nothing.
    private func signing(_ policy: Policy, _ name: String, _ caller: Caller) throws -> String {
        switch try policy.signingVerdict(on: key(name), for: caller) {
        case .permitted(_, let uses, let rule): "\(rule.location.line)\(uses.clause)"
        case .denied(let denial): denial.reason.rawValue
        }
    }

    @Test func neitherRightIncludesTheOther() throws {
        let policy = try policy("key a /a\nkey b /b\npermit 1 sign a\npermit 1 key b\n")
        let caller = Caller(uid: 1, groups: [], unit: nil)
        #expect(try policy.verdict(on: key("a"), for: caller) == .denied(.noRule))
        #expect(try signing(policy, "a", caller) == "3")
        #expect(try signing(policy, "b", caller) == "no-rule")
        #expect(try policy.keys(for: caller) == [key("b")])
        #expect(try signing(policy, "c", caller) == "unknown-key")
        #expect(try signing(policy, "a", Caller(uid: nil, groups: [], unit: nil)) == "overflow-uid")
        #expect(try signing(policy, "a", Caller(uid: 0, groups: [0], unit: nil)) == "no-rule")
        // A line about signatures makes a caller known, as any other does.
        #expect(policy.names(.user(1)) && policy.permissions == 2)
    }

    @Test func linesAddUpInAnyOrder() throws {
        let lines = [
            "permit 1 sign a for tls-server\n", "permit :2 sign a for tls-client\n", "permit unit:u*.service sign a\n",
        ]
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let policy = try policy("key a /a\n" + order.map { lines[$0] }.joined())
            func signing(_ uid: UInt32, _ groups: [UInt32], _ unit: String?) throws -> SigningUses? {
                let caller = Caller(uid: uid, groups: groups, unit: unit)
                guard case .permitted(_, let uses, _) = try policy.signingVerdict(on: key("a"), for: caller) else {
                    return nil
                }
                return uses
            }
            #expect(try signing(1, [], nil) == .tlsServer)
            #expect(try signing(1, [2], "v.service") == [.tlsServer, .tlsClient])
            #expect(try signing(3, [2], nil) == .tlsClient)
            #expect(try signing(3, [], "u1.service") == .anything)
            #expect(try signing(1, [2], "u.service")?.contains(.anything) == true)
            #expect(try signing(3, [], nil) == nil)
        }
    }

    @Test func unitsAreKnownByLinesAboutSignatures() throws {
        let policy = try policy(
            "key a /a\npermit unit:x.service sign a for tls-server\npermit unit:y@*.service sign a\n")
        #expect(policy.permitsUnits && policy.permits(unit: "x.service") && policy.permits(unit: "y@1.service"))
        #expect(try signing(policy, "a", Caller(unitAlone: "x.service")) == "2 for tls-server")
        #expect(try policy.verdict(on: key("a"), for: Caller(unitAlone: "x.service")) == .denied(.noRule))
    }

    @Test func limits() throws {
        let policy = try policy(
            "limit each-user signatures 5\nlimit :10 signatures 7\nlimit :200 signatures 9\nlimit 33 requests 2\n")
        func signatures(_ uid: UInt32, _ groups: [UInt32]) -> Int? {
            policy.bounds(for: Caller(uid: uid, groups: groups, unit: nil)).signatures
        }
        #expect(signatures(1, []) == 5 && signatures(1, [10]) == 7 && signatures(33, [10, 200]) == 9)

        let channelled = try self.policy("limit :10 channels 7\nlimit :200 channels 9\nlimit 33 channels 4096\n")
        func channels(_ uid: UInt32, _ groups: [UInt32]) -> Int? {
            channelled.bounds(for: Caller(uid: uid, groups: groups, unit: nil)).channels
        }
        #expect(channels(1, []) == nil && channels(1, [10, 200]) == 9 && channels(33, [10]) == 4096)
    }

    @Test func neverLinesAreAboutOneRight() throws {
        func isFaulty(_ text: String) -> Bool {
            read([PolicyText(file: "p", bytes: Array("key a /a\n\(text)".utf8))], in: machine).policy == nil
        }
        #expect(isFaulty("permit 1 sign a for tls-server\nnever anyone sign a\n"))
        #expect(!isFaulty("permit 1 key a\nnever anyone sign a\n"))
        #expect(!isFaulty("permit 1 sign a\nnever anyone key a\n"))
        #expect(!isFaulty("permit 1 sign a\nnever anyone sign a unless 1\n"))
        #expect(isFaulty("permit unit:x*.service sign a\nnever anyone sign a unless unit:xy*.service\n"))
    }

    @Test func expectations() throws {
        let policy = try policy("key a /a\npermit www-data sign a for tls-server\npermit games sign a\n")
        let text = """
            expect www-data sign a for tls-server granted
            expect www-data sign a for tls-client denied
            expect www-data sign a denied
            expect www-data key a denied
            expect games sign a granted
            expect games sign a for tls-client granted
            expect unit:x.service sign a denied
            expect www-data sign a granted
            expect games sign a for tls-server denied
            """
        let (expectations, faults) = readExpectations(PolicyText(file: "e", bytes: Array(text.utf8)))
        #expect(faults.isEmpty && expectations.count == 9)
        let uids: [String: UInt32] = ["www-data": 33, "games": 5]
        let failed = expectations.compactMap { expectation in
            let caller = expectation.user.map { Caller(uid: uids[$0], groups: [], unit: expectation.unit) }
            return policy.failure(of: expectation, for: caller ?? Caller(unitAlone: expectation.unit ?? ""))
        }
        #expect(failed.map(\.location.line) == [8, 9])
        #expect(failed[0].message == "denied: no line permits that signature" && failed[1].message == "granted by p:3")
        for wrong in [
            "expect a sign", "expect a sign b for", "expect a sign b for x granted",
            "expect a key b for tls-server granted",
        ] {
            #expect(readExpectations(PolicyText(file: "e", bytes: Array(wrong.utf8))).faults.count == 1, "\(wrong)")
        }
    }

    // MARK: For random policies

    private static let callers: [Caller] =
        [nil, 1, 2].flatMap { uid in
            [[], [7], [8]].flatMap { groups in
                [nil, "x.service", "y@1.service"].map { Caller(uid: uid, groups: groups, unit: $0) }
            }
        } + [Caller(unitAlone: "x.service")]

    private func random(_ random: inout Seeded) -> (text: String, withoutSign: String) {
        var (text, rest) = ("key a /a\n", "key a /a\n")
        for _ in 0..<Int.random(in: 0...7, using: &random) {
            let who = random.one(of: ["1", "2", ":7", ":8", "unit:x.service", "unit:y@*.service"])
            let unit = who.hasPrefix("unit:") ? "" : random.one(of: ["", " unit x.service", " unit y*.service"])
            if Bool.random(using: &random) {
                let use = random.one(of: ["", " for tls-server", " for tls-client", " for tls-client tls-server"])
                text += "permit \(who)\(unit) sign a\(use)\n"
            } else {
                text += "permit \(who)\(unit) key a\n"
                rest += "permit \(who)\(unit) key a\n"
            }
        }
        return (text, rest)
    }

    private func uses(_ policy: Policy, _ caller: Caller) throws -> SigningUses {
        guard case .permitted(_, let uses, _) = try policy.signingVerdict(on: key("a"), for: caller) else { return [] }
        return uses.contains(.anything) ? .anything : uses
    }

    /// Lines about signatures change no verdict on the key, and the explanation says what the verdict does.
    @Test func noVerdictOnAKeyDependsOnThem() throws {
        for seed in 0..<400 as Range<UInt64> {
            var numbers = Seeded(state: seed)
            let (text, withoutSign) = random(&numbers)
            let (with, without) = (try policy(text), try policy(withoutSign))
            for caller in Self.callers {
                let (one, other) = try (
                    with.verdict(on: key("a"), for: caller), without.verdict(on: key("a"), for: caller)
                )
                switch (one, other) {
                case (.permitted, .permitted): break
                default: #expect(one == other, "seed \(seed)")
                }
                let explanation = try with.explanation(of: key("a"), .sign, for: caller)
                switch try with.signingVerdict(on: key("a"), for: caller) {
                case .permitted(_, let uses, let rule):
                    #expect(
                        explanation.permitting.first == rule && explanation.uses == uses && !uses.isEmpty,
                        "seed \(seed)")
                case .denied: #expect(!explanation.isPermitted, "seed \(seed)")
                }
            }
        }
    }

    /// The differences are empty exactly if no caller may sign more or less, and name each use that one gains or loses.
    @Test func differencesAreWhatCallersNotice() throws {
        for seed in 0..<400 as Range<UInt64> {
            var numbers = Seeded(state: seed)
            let (old, new) = (try policy(random(&numbers).text), try policy(random(&numbers).text))
            let changes = differences(from: old, to: new).filter { $0.uses != nil }
            for caller in Self.callers {
                let (before, after) = (try uses(old, caller), try uses(new, caller))
                guard before != after else { continue }
                let wanted = [.anything] + SigningUses.named.map(\.use)
                func may(_ uses: SigningUses, _ use: SigningUses) -> Bool {
                    uses.contains(.anything) || uses.contains(use)
                }
                for use in wanted where may(before, use) != may(after, use) {
                    let isListed = changes.contains {
                        $0.isGain == may(after, use) && $0.rule.permits(caller) && $0.uses?.contains(use) == true
                    }
                    #expect(isListed, "seed \(seed): \(use.words)")
                }
            }
            #expect(differences(from: old, to: old).isEmpty, "seed \(seed)")
        }
    }
}
