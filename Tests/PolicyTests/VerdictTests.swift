import Foundation
import TestSupport
import Testing
import Wire

@testable import Policy
import PolicyReview

private func policy(_ text: String) throws -> Policy {
    let reading = read([PolicyText(file: "p", bytes: Array(text.utf8))], in: machine)
    return try #require(reading.policy, "\(reading.diagnostics)")
}

private func key(_ name: String) throws -> KeyName { try #require(KeyName(name)) }

struct VerdictTests {
    let text = """
        key web-tls /web.pem certificate /web.crt
        key api-tls /api.pem
        permit www-data key web-tls
        permit :tls-ops key web-tls api-tls
        permit stunnel4 unit stunnel@*.service key api-tls
        permit 7000 key api-tls
        permit :7001 key api-tls
        """

    private func rule(_ name: String, _ caller: Caller) throws -> String {
        switch try policy(text).verdict(on: key(name), for: caller) {
        case .permitted(_, let rule): rule.location.description
        case .denied(let denial): denial.reason.rawValue
        }
    }

    @Test func byUser() throws {
        let caller = Caller(uid: 33, groups: [33], unit: nil)
        #expect(try rule("web-tls", caller) == "p:3")
        #expect(try rule("api-tls", caller) == "no-rule")
        #expect(try rule("none", caller) == "unknown-key")
    }

    @Test func byGroupPrimaryOrNot() throws {
        #expect(try rule("api-tls", Caller(uid: 1000, groups: [200], unit: nil)) == "p:4")
        #expect(try rule("api-tls", Caller(uid: 1000, groups: [1, 2, 200], unit: nil)) == "p:4")
        #expect(try rule("api-tls", Caller(uid: 200, groups: [1], unit: nil)) == "no-rule")
    }

    @Test func byNumber() throws {
        #expect(try rule("api-tls", Caller(uid: 7000, groups: [], unit: nil)) == "p:6")
        #expect(try rule("api-tls", Caller(uid: 1, groups: [7001], unit: nil)) == "p:7")
    }

    @Test func unitsOnlyNarrow() throws {
        #expect(try rule("api-tls", Caller(uid: 110, groups: [], unit: nil)) == "no-rule")
        #expect(try rule("api-tls", Caller(uid: 110, groups: [], unit: "stunnel@a.service")) == "p:5")
        #expect(try rule("api-tls", Caller(uid: 110, groups: [], unit: "ssh.service")) == "no-rule")
        #expect(try rule("api-tls", Caller(uid: 111, groups: [], unit: "stunnel@a.service")) == "no-rule")
    }

    @Test func byUnitUnderAnyAccount() throws {
        let policy = try policy(
            """
            key web-tls /web.pem
            key api-tls /api.pem
            permit unit:nginx.service key web-tls
            permit unit:w@*.service key web-tls
            permit www-data unit php.service key web-tls
            permit www-data key api-tls
            """)
        func isPermitted(_ caller: Caller, _ name: String = "web-tls") throws -> Bool {
            if case .permitted = policy.verdict(on: try key(name), for: caller) { true } else { false }
        }
        for uid in [0, 33, 61_184, 4_294_967_294] as [UInt32] {
            #expect(try isPermitted(Caller(uid: uid, groups: [], unit: "nginx.service")))
            #expect(try isPermitted(Caller(uid: uid, groups: [], unit: "w@1.service")))
            #expect(try !isPermitted(Caller(uid: uid, groups: [], unit: "nginx.service.d")))
            #expect(try !isPermitted(Caller(uid: uid, groups: [], unit: "ssh.service")))
            #expect(try !isPermitted(Caller(uid: uid, groups: [], unit: nil)))
        }
        // The overflow uid is nobody, in any unit.
        #expect(try !isPermitted(Caller(uid: nil, groups: [], unit: "nginx.service")))
        // A unit alone is no account. Lines about accounts do not match it.
        #expect(try isPermitted(Caller(unitAlone: "nginx.service")))
        #expect(try !isPermitted(Caller(unitAlone: "php.service")))
        #expect(try !isPermitted(Caller(unitAlone: "nginx.service"), "api-tls"))
        #expect(policy.keys(for: Caller(unitAlone: "w@x.service")).map(\.description) == ["web-tls"])
        #expect(policy.keys(for: Caller(uid: 33, groups: [], unit: "nginx.service")).count == 2)
        #expect(policy.permits(unit: "w@1.service") && !policy.permits(unit: "php.service"))
        let denied = policy.explanation(of: try key("web-tls"), for: Caller(unitAlone: "php.service"))
        #expect(denied.misses.map(\.mismatch) == [.unit("php.service"), .unit("php.service"), .unitAlone])
    }

    @Test func nobodyWithoutALine() throws {
        #expect(try rule("web-tls", Caller(uid: 0, groups: [0], unit: "nginx.service")) == "no-rule")
        // If the uid of a caller is not certain, no line permits it anything, whatever its groups are.
        #expect(try rule("web-tls", Caller(uid: nil, groups: [200], unit: nil)) == "overflow-uid")
    }

    @Test func listing() throws {
        let policy = try policy(text)
        #expect(
            policy.keys(for: Caller(uid: 5, groups: [200], unit: nil)).map(\.description) == ["api-tls", "web-tls"])
        #expect(policy.keys(for: Caller(uid: 110, groups: [], unit: nil)).isEmpty)
        #expect(policy.keys(for: Caller(uid: nil, groups: [200], unit: nil)).isEmpty)
    }

    @Test func limitsTheMostSpecificLineCounts() throws {
        let policy = try policy(
            """
            limit each-user connections 5
            limit :tls-ops connections 20 requests 7
            limit :wheel connections 30
            limit www-data connections 2
            """)
        func bounds(_ uid: UInt32, _ groups: [UInt32]) -> Bounds {
            policy.bounds(for: Caller(uid: uid, groups: groups, unit: nil))
        }
        #expect(bounds(33, [200]) == Bounds(connections: 2, requests: 7))
        #expect(bounds(1, [200, 10]) == Bounds(connections: 30, requests: 7))
        #expect(bounds(1, []) == Bounds(connections: 5))
        // The range before the groups are known.
        #expect(policy.possibleConnections(ofUser: 33, otherwise: 64) == 2...2)
        #expect(policy.possibleConnections(ofUser: 1, otherwise: 64) == 5...30)
        #expect(policy.possibleRequests(ofUser: 1, otherwise: 100) == 7...100)
        #expect(policy.possibleConnections(ofUser: nil, otherwise: 64) == 5...5)
    }

    @Test func whatLinesName() throws {
        let policy = try policy(
            """
            key k /k
            permit www-data key k
            permit :tls-ops key k
            limit :wheel connections 30
            limit 99 requests 1
            """)
        #expect(policy.namedGroups == [10, 200])
        #expect(policy.names(.user(33)) && policy.names(.user(99)) && policy.names(.group(10)))
        #expect(!policy.names(.user(10)) && !policy.names(.group(33)))
    }

    @Test func severalFilesAreOnePolicy() throws {
        let reading = read(
            [
                PolicyText(file: "a", bytes: Array("permit www-data key later\n".utf8)),
                PolicyText(file: "b", bytes: Array("key later /x\n".utf8)),
            ], in: machine)
        #expect(reading.diagnostics.isEmpty)
        #expect(reading.policy?.rules.count == 1)
    }
}

struct ExampleTests {
    private func example() throws -> String {
        try String(contentsOf: projectFolder.appendingPathComponent("policy/keybroker.policy"), encoding: .utf8)
    }

    /// The shipped policy permits nothing on any machine.
    @Test func theShippedExampleIsValidAndEmpty() throws {
        let policy = try policy(example())
        #expect(policy.keys.isEmpty && policy.rules.isEmpty && policy.statusPermits.isEmpty)
    }

    @Test func itsExamplesAreValidToo() throws {
        let uncommented = try example().replacing(#/(?m)^#(?=(key|permit|limit|never) )/#, with: "")
        let reading = read([PolicyText(file: "example", bytes: Array(uncommented.utf8))], in: machine)
        #expect(reading.diagnostics.isEmpty, "\(reading.diagnostics)")
        #expect(reading.policy?.keys.count == 3)
        #expect(reading.policy?.nevers.count == 1 && reading.policy?.statusPermits.count == 1)
        #expect(reading.policy?.rules.values.reduce(0) { $0 + $1.count } == 6)
    }
}

struct UnitPatternTests {
    @Test(arguments: [
        ("nginx.service", "nginx.service", true), ("nginx.service", "nginx.servicex", false),
        ("stunnel@*.service", "stunnel@a.service", true), ("stunnel@*.service", "stunnel@.service", true),
        ("stunnel@*.service", "stunnel@a.service.service", true), ("stunnel@*.service", "stunnel.service", false),
        ("*.service", "a.service", true), ("*", "x.scope", true), ("a*b*c.service", "aXbYbZc.service", true),
        ("a*b*c.service", "aXbYbZ.service", false), ("**.service", "q.service", true),
    ])
    func matching(_ pattern: String, _ unit: String, _ expected: Bool) throws {
        let pattern = try #require(UnitPattern(Array(pattern.utf8)))
        #expect(pattern.matches(unit) == expected)
    }

    /// What a unit can be called, for who asks about one.
    @Test(arguments: [
        ("nginx.service", nil), ("session-1.scope", nil), ("w@a.b.service", nil), (#"x\x2dy.service"#, nil),
        ("nginx", "a unit that holds processes is named NAME.service or NAME.scope; did you mean 'nginx.service'?"),
        ("web.timer", "a unit that holds processes is named NAME.service or NAME.scope"),
        (".service", "a unit that holds processes is named NAME.service or NAME.scope"),
        ("", "a unit that holds processes is named NAME.service or NAME.scope"),
        ("web foo", #"a unit name is made of letters, digits and : _ . \ @ -"#),
        ("web*", "* stands for many units; name one of them"),
        ("w@*.service", "* stands for many units; name one of them"),
    ])
    func namesOfOneUnit(_ name: String, _ fault: String?) {
        #expect(UnitPattern.fault(inName: name) == fault)
    }
}

struct ParserRobustness {
    /// Tries every line of up to three of these words, and every single byte as a file. Nothing may crash, and if there
    /// is no policy there must be an error that says why.
    @Test func everyShortPolicy() {
        let words = [
            "key", "permit", "limit", "never", "anyone", "unless", "status", "a", "/x", "www-data", ":", "certificate",
            "unit", "each-user", "5", "#",
        ]
        var texts = words
        for a in words {
            for b in words { texts.append("\(a) \(b)"); for c in words { texts.append("\(a) \(b) \(c)") } }
        }
        for byte in UInt8.min...UInt8.max {
            let reading = read([PolicyText(file: "f", bytes: [byte])], in: machine)
            #expect((reading.policy == nil) == reading.diagnostics.contains { $0.severity == .error })
        }
        for text in texts {
            let reading = read([PolicyText(file: "f", bytes: Array(text.utf8))], in: machine)
            #expect((reading.policy == nil) == reading.diagnostics.contains { $0.severity == .error }, "\(text)")
            for diagnostic in reading.diagnostics {
                #expect(diagnostic.lines.allSatisfy { $0.utf8.allSatisfy { (0x20...0x7E).contains($0) } }, "\(text)")
            }
        }
    }
}
