// Explanations and expectations always agree with the verdict.

import Foundation
import TestSupport
import Testing
import Wire

@testable import Policy
@testable import PolicyReview

struct ExplanationTests {
    private func policy(_ text: String) throws -> Policy {
        let reading = read([PolicyText(file: "p", bytes: Array(text.utf8))], in: machine)
        return try #require(reading.policy, "\(reading.diagnostics)")
    }

    private func key(_ name: String) throws -> KeyName { try #require(KeyName(name)) }

    @Test func missesNearestFirst() throws {
        let policy = try policy(
            """
            key web-tls /x
            permit www-data key web-tls
            permit :tls-ops key web-tls
            permit games unit a.service key web-tls
            """)
        let caller = Caller(uid: 5, groups: [60], unit: "b.service")
        let explanation = try policy.explanation(of: key("web-tls"), for: caller)
        #expect(!explanation.isPermitted)
        #expect(explanation.misses.map(\.rule.location.line) == [4, 2, 3])
        #expect(explanation.misses.map(\.mismatch) == [.unit("b.service"), .anotherUser, .notInGroup])
        #expect(explanation.misses[0].rule.statement == "permit games unit a.service key web-tls")
        #expect(try policy.explanation(of: key("web-tsl"), for: caller).likelyMeant == "web-tls")
        let nobody = Caller(uid: nil, groups: [200], unit: nil)
        #expect(try policy.explanation(of: key("web-tls"), for: nobody).misses.allSatisfy { $0.mismatch == .nobody })
    }

    /// A line about the overflow uid or gid permits to no caller, so it is no answer to who may have a key.
    @Test func linesAboutNobodyAreLeftOut() throws {
        let policy = try policy(
            """
            key a /a
            permit nobody key a
            permit :65534 key a
            permit 65534 unit x.service sign a
            permit :tls-ops key a
            permit unit:x.service sign a
            """)
        func lines(_ user: Caller?, _ unit: String?, _ key: KeyName?) -> [Int] {
            policy.rules(about: Subject(user: user, unit: unit, key: key)).map(\.location.line)
        }
        #expect(try lines(nil, nil, key("a")) == [5, 6])
        #expect(lines(nil, nil, nil) == [5, 6])
        #expect(lines(nil, "x.service", nil) == [6])
        // Whoever is in that group has it not by its number, as the kernel shows it for others too.
        #expect(lines(Caller(uid: 42, groups: [], unit: nil), nil, nil) == [6])
        let explanation = try policy.explanation(of: key("a"), for: Caller(uid: 42, groups: [], unit: nil))
        #expect(explanation.misses.map(\.isAboutNobody) == [true, true, false])
    }

    /// For random policies and callers, the explanation, the verdict and the list never disagree.
    @Test func explanationAndVerdictAgree() throws {
        for seed in 0..<300 as Range<UInt64> {
            var random = Seeded(state: seed)
            let keys = ["a", "b", "c"]
            var text = keys.map { "key \($0) /\($0)\n" }.joined()
            for _ in 0..<Int.random(in: 0...8, using: &random) {
                let who = ["1", "2", "33", ":1", ":2", ":200"].randomElement(using: &random) ?? "1"
                let unit = ["", " unit x.service", " unit y@*.service", " unit *"].randomElement(using: &random) ?? ""
                text += "permit \(who)\(unit) key \(keys.randomElement(using: &random) ?? "a")\n"
            }
            let policy = try policy(text)
            for _ in 0..<20 {
                let caller = Caller(
                    uid: [nil, 1, 2, 33].randomElement(using: &random) ?? nil,
                    groups: [1, 2, 200].filter { _ in Bool.random(using: &random) },
                    unit: [nil, "x.service", "y@1.service", "z.scope"].randomElement(using: &random) ?? nil)
                for name in keys + ["none"] {
                    let name = try key(name)
                    let explanation = policy.explanation(of: name, for: caller)
                    switch policy.verdict(on: name, for: caller) {
                    case .permitted(_, let rule): #expect(explanation.permitting.first == rule, "seed \(seed)")
                    case .denied(.noRule):
                        #expect(!explanation.isPermitted && explanation.key != nil && caller.uid != nil, "seed \(seed)")
                    case .denied(.overflowUID): #expect(caller.uid == nil && explanation.key != nil, "seed \(seed)")
                    case .denied(.unknownKey): #expect(explanation.key == nil, "seed \(seed)")
                    }
                    #expect(policy.keys(for: caller).contains(name) == explanation.isPermitted, "seed \(seed)")
                    let rules = policy.rules[name]?.count ?? 0
                    #expect(explanation.permitting.count + explanation.misses.count == rules, "seed \(seed)")
                }
            }
        }
    }
}

struct ExpectationTests {
    private func readAll(_ text: String) -> (expectations: [PolicyExpectation], faults: [Diagnostic]) {
        readExpectations(PolicyText(file: "t", bytes: Array(text.utf8)))
    }

    @Test func expectations() throws {
        let (expectations, faults) = readAll(
            "# comment\nexpect www-data key web granted\n\nexpect 5 unit a.service key web denied # why\n")
        #expect(faults.isEmpty)
        #expect(expectations.map(\.user) == ["www-data", "5"])
        #expect(expectations.map(\.unit) == [nil, "a.service"])
        #expect(expectations.map(\.isGranted) == [true, false])
        let reading = read(
            [PolicyText(file: "p", bytes: Array("key web /x\npermit www-data key web\n".utf8))], in: machine)
        let policy = try #require(reading.policy)
        let service = Caller(uid: 33, groups: [], unit: nil)
        #expect(policy.failure(of: expectations[0], for: service) == nil)
        #expect(policy.failure(of: expectations[1], for: service)?.lines.first == "t:4:33: error: granted by p:2")
        let stranger = Caller(uid: 5, groups: [], unit: nil)
        #expect(policy.failure(of: expectations[0], for: stranger)?.message == "denied: no line permits it")
        #expect(policy.failure(of: expectations[1], for: stranger) == nil)
    }

    /// The daemon's own account needs no line, nor does root (`Broker.standing`).
    @Test func expectationsOfTheStatus() throws {
        let (expectations, faults) = readAll(
            "expect a status granted\nexpect a status denied\nexpect unit:a.service status denied\n")
        #expect(faults.isEmpty)
        let reading = read([PolicyText(file: "p", bytes: Array("permit 61005 status\n".utf8))], in: machine)
        let policy = try #require(reading.policy)
        func answers(_ caller: Caller, daemon: UInt32?) -> [String?] {
            expectations.map { policy.failure(of: $0, for: caller, daemon: daemon)?.message }
        }
        let denied = "denied: no line permits the status"
        for (uid, daemon, granted) in [
            (0, nil, "granted to root"), (0, 0, "granted to root"), (61_005, nil, "granted by p:1"),
            (61_000, 61_000, "granted to the account that the daemon runs as"), (61_000, 61_001, nil),
            (61_000, nil, nil),
        ] as [(UInt32, UInt32?, String?)] {
            let said = answers(Caller(uid: uid, groups: [], unit: nil), daemon: daemon)
            #expect(said == [granted == nil ? denied : nil, granted, granted], "\(uid)")
        }
        // Neither a caller without a uid nor a unit is any account.
        #expect(answers(Caller(uid: nil, groups: [], unit: nil), daemon: nil) == [denied, nil, nil])
        #expect(answers(Caller(unitAlone: "a.service"), daemon: nil) == [denied, nil, nil])
    }

    @Test func expectationsOfAUnit() throws {
        let (expectations, faults) = readAll(
            "expect unit:a.service key web granted\nexpect unit:b.service key web denied\n")
        #expect(faults.isEmpty)
        #expect(expectations.map(\.user) == [nil, nil])
        #expect(expectations.map(\.unit) == ["a.service", "b.service"])
        let reading = read(
            [PolicyText(file: "p", bytes: Array("key web /x\npermit unit:a.service key web\n".utf8))], in: machine)
        let policy = try #require(reading.policy)
        for expectation in expectations {
            #expect(policy.failure(of: expectation, for: Caller(unitAlone: expectation.unit ?? "")) == nil)
        }
        #expect(readAll("expect unit: key web granted\n").faults.first?.message.hasPrefix("the unit's name") == true)
        let two = readAll("expect unit:a.service unit a.service key web granted\n")
        #expect(two.faults.first?.message == "unknown word 'unit'; key, sign or status is expected")
    }

    /// A slip in a name is no proof that nobody gets the key.
    @Test func whatCannotBeIsNotExpectedToBeDenied() throws {
        let reading = read(
            [PolicyText(file: "p", bytes: Array("key web /x\npermit unit:web* key web\n".utf8))], in: machine)
        let policy = try #require(reading.policy)
        let form = "a unit that holds processes is named NAME.service or NAME.scope"
        for (line, message) in [
            ("33 unit nginx key web", "no unit has the name 'nginx': \(form); did you mean 'nginx.service'?"),
            ("unit:web.timer key web", "no unit has the name 'web.timer': \(form)"),
            ("unit:web* key web", "no unit has the name 'web*': * stands for many units; name one of them"),
            ("unit:ngin status", "no unit has the name 'ngin': \(form); did you mean 'ngin.service'?"),
            ("33 key wbe", "there is no key 'wbe'; did you mean 'web'?"), ("33 sign other", "there is no key 'other'"),
        ] {
            for outcome in ["denied", "granted"] {
                let expectation = try #require(readAll("expect \(line) \(outcome)\n").expectations.first)
                let caller =
                    expectation.user == nil
                    ? Caller(unitAlone: expectation.unit ?? "") : Caller(uid: 33, groups: [], unit: expectation.unit)
                #expect(policy.failure(of: expectation, for: caller)?.message == message, "\(line) \(outcome)")
            }
        }
    }

    @Test(arguments: [
        ("expect", "t:1:7: error: the user or unit:NAME is missing"),
        ("expct a", "t:1:1: error: unknown statement 'expct'"),
        ("expect a", "t:1:9: error: 'key' or 'sign' and the key's name, or 'status', is missing"),
        ("expect a key", "t:1:13: error: the key's name is missing"),
        ("expect a key B granted", "t:1:14: error: bad key name 'B'"),
        ("expect a key b", "t:1:15: error: 'granted' or 'denied' is missing"),
        ("expect a key b maybe", "t:1:16: error: 'maybe' is not what can come of it"),
        ("expect a key b granted x", "t:1:24: error: unknown word 'x'"),
        ("expect a nit x key b granted", "t:1:10: error: unknown word 'nit'; unit, key, sign or status is expected"),
        ("expect \u{e4} key b granted", "t:1:8: error: a byte that is not ASCII"),
    ])
    func faults(_ line: String, _ said: String) {
        let faults = readAll(line).faults
        #expect(faults.count == 1)
        #expect(faults.first?.lines.first?.hasPrefix(said) == true, "\(faults)")
    }
}
