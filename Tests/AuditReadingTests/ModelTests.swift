// The policy's meaning, proved against a second mind: a model in Python that was written from keybroker.policy(5) alone
// (Tests/PolicyTests/Model/model.py). Verdict, list, explanation, limits, differences and replay agree with it.
//
// 400 pairs of policies by default, with 120 verdicts on each; KEYBROKER_MODEL_ROUNDS says how many.

import AuditReading
import Foundation
import Policy
import PolicyReview
import TestSupport
import Testing
import Wire

private struct ModelCaller: Encodable {
    var uid: UInt32?
    var groups: [UInt32] = []
    var unit: String?
    var alone = false

    var caller: Caller {
        if alone { return Caller(unitAlone: unit ?? "") }
        return Caller(uid: uid ?? .max, gid: 9, groups: groups, unit: unit, unmapped: (65_534, 65_534))
    }
}

private struct ModelQuestion: Encodable {
    let machine: [String: [String: UInt32]]
    let policies: [String]
    let callers: [ModelCaller]
    let keys: [String]
}

private struct ModelAnswer: Decodable {
    let faulty: String?
    /// For each policy and caller: a digit for each key.
    let permitted: [[String]]?
    /// For each policy and caller: connections, requests, watches.
    let bounds: [[[Int?]]]?
}

@Suite(.enabled(if: installed("python3") != nil, "needs python3"))
struct ModelTests {
    private let folder = TemporaryFolder("model")

    private static let users: [String: UInt32] = ["www-data": 33, "alice": 1000, "nobody": 65_534]
    private static let groups: [String: UInt32] = ["www-data": 33, "tls-ops": 200, "nogroup": 65_534]
    private static var machine: Resolver {
        Resolver(
            overflowUID: 65_534, user: { users[$0].map { .id($0) } ?? .unknown },
            group: { groups[$0].map { .id($0) } ?? .unknown }, fault: { _ in nil })
    }
    private static let keys = ["a", "b.c", "0-_"]
    private static let patterns = [
        "x.service", "*", "*.service", "*.scope", "x*.service", "*x.service", "x*y.service", "x@*.service",
        "**.service",
        "x.ser*", "*x*y*", #"x\x2dy.service"#, "a.b.service", "*.service*",
    ]
    private static let units = [
        "x.service", "xy.service", "xay.service", "x@1.service", "x@.service", #"x\x2dy.service"#, "axb.service",
        "a.b.service", "aXb.service", "x.scope", "session-1.scope", "x.service.scope", ".service",
    ]
    /// Words in places where they are faulty, or where it takes a careful reader to tell.
    private static let oddities = [
        "permit alice key", "permit key a", "permit alice unit x.service", "permit unit:x.service unit * key a",
        "permit unit: key a", "permit : key a", "permit 4294967294 key a", "permit 4294967295 key a",
        "permit 007 key a",
        "permit alice unit x key a", "permit alice unit .service key a", "permit alice key a#b",
        "permit alice key a # b",
        "#permit alice key a", "permit\talice\tkey\ta", " permit alice key a ", "permit alice key a a", "key a /other",
        "key z /z certificate", "key z z", "key z /z/", "key z credential:z", "key z credential:z/y", "key Z /z",
        "key z /z certificate /c extra", "key z /z crt /c", "key z credential:..", "limit alice", "limit alice watches",
        "limit alice watches 0", "limit alice watches 65536", "limit alice watches 65537",
        "limit alice requests 1000000",
        "limit alice requests 1000001", "limit unit:x.service watches 1", "limit each-user watches 3 watches 4",
        "limit alice watches +3", "limit alice watches 03", "limit 1000 watches 3", "deny alice key a",
        "permit alice key A",
        "permit alice key none", "permit Alice key a", "permit bob key a", "limit each-user unit x.service",
    ]

    private func line(_ random: inout Seeded) -> String {
        func one(_ choices: [String]) -> String { choices.randomElement(using: &random) ?? "" }
        let keys = (0..<Int.random(in: 1...2, using: &random)).map { _ in one(Self.keys) }.joined(separator: " ")
        let who = one(["www-data", "alice", ":tls-ops", ":www-data", "33", ":200", "1", ":33", "0", "65534", ":65534"])
        switch Int.random(in: 0..<20, using: &random) {
        case 0..<7: return "permit \(who) key \(keys)"
        case 7..<12: return "permit \(who) unit \(one(Self.patterns)) key \(keys)"
        case 12..<15: return "permit unit:\(one(Self.patterns)) key \(keys)"
        default:
            let bound = one(["connections", "requests", "watches"])
            let whom = one([who, ":tls-ops", ":www-data", ":1000", "each-user"])
            return "limit \(whom) \(bound) \(Int.random(in: 1...9, using: &random))"
        }
    }

    private func text(_ random: inout Seeded) -> String {
        var lines = Self.keys.map { "key \($0) /\($0)" }
        for _ in 0..<Int.random(in: 0...8, using: &random) { lines.append(line(&random)) }
        if Int.random(in: 0..<40, using: &random) == 0 { lines.removeFirst() }
        return lines.shuffled(using: &random).joined(separator: "\n")
    }

    /// The same policy with another line, without one, or in another order.
    private func variant(of text: String, _ random: inout Seeded) -> String {
        var lines = text.split(separator: "\n").map(String.init).shuffled(using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: lines.append(line(&random))
        case 1:
            if let index = lines.lastIndex(where: { !$0.hasPrefix("key") }) { lines.remove(at: index) }
        default: break
        }
        return lines.joined(separator: "\n")
    }

    private func caller(_ random: inout Seeded) -> ModelCaller {
        let unit = Int.random(in: 0..<4, using: &random) > 0 ? Self.units.randomElement(using: &random) : nil
        if Int.random(in: 0..<6, using: &random) == 0 { return ModelCaller(unit: unit ?? "x.service", alone: true) }
        return ModelCaller(
            uid: ([0, 1, 33, 200, 1000, 7, 65_534] as [UInt32]).randomElement(using: &random),
            groups: ([0, 33, 200, 1000, 65_534] as [UInt32]).filter { _ in Int.random(in: 0..<3, using: &random) == 0 },
            unit: unit)
    }

    private func parsed(_ text: String) -> Policy? {
        read([PolicyText(file: "p", bytes: Array(text.utf8))], in: Self.machine).policy
    }

    private func start() throws -> Program {
        let path = projectFolder.appendingPathComponent("Tests/PolicyTests/Model/model.py").path
        return try Program(installed("python3") ?? "", [path])
    }

    /// Faulty alike, permitted alike, listed alike, limited alike; and `diff` and `replay` name what the model tells
    /// apart.
    @Test func allAgreeWithTheModel() throws {
        let rounds = UInt64(ProcessInfo.processInfo.environment["KEYBROKER_MODEL_ROUNDS"] ?? "") ?? 400
        var model = try start()
        var (faulty, permitted, denied, same, different) = (0, 0, 0, 0, 0)
        for seed in 0..<rounds {
            // What a program has said is kept, so a long run takes a new one now and then.
            if seed % 1000 == 999 {
                #expect(try model.waitForExit() == 0)
                model = try start()
            }
            var random = Seeded(state: seed &+ 1_000_000)
            var first = text(&random)
            // Each of them has its turn.
            if seed % 4 == 0 { first += "\n" + Self.oddities[Int(seed / 4) % Self.oddities.count] }
            let texts = [first, Bool.random(using: &random) ? variant(of: first, &random) : text(&random)]
            let callers = (0..<20).map { _ in caller(&random) }
            let question = ModelQuestion(
                machine: ["users": Self.users, "groups": Self.groups], policies: texts, callers: callers,
                keys: Self.keys)
            try model.send(String(decoding: try JSONEncoder().encode(question), as: UTF8.self))
            let answer = try JSONDecoder().decode(ModelAnswer.self, from: Data(try model.nextLine().utf8))
            let policies = texts.compactMap(parsed)
            guard policies.count == 2, let verdicts = answer.permitted, let bounds = answer.bounds else {
                #expect((policies.count == 2) == (answer.faulty == nil), "seed \(seed): \(texts), \(answer)")
                faulty += 1
                continue
            }
            for (index, policy) in policies.enumerated() {
                for (number, caller) in callers.enumerated() {
                    let expected = Array(verdicts[index][number]).map { $0 == "1" }
                    let found = try self.verdicts(policy, caller.caller)
                    #expect(found == expected, "seed \(seed): \(caller) under \(texts[index])")
                    permitted += expected.count { $0 }
                    denied += expected.count { !$0 }
                    let limits = policy.bounds(for: caller.caller)
                    #expect(
                        [limits.connections, limits.requests, limits.watches] == bounds[index][number],
                        "seed \(seed): limits of \(caller) under \(texts[index])")
                }
            }
            let changes = differences(from: policies[0], to: policies[1])
            same += changes.isEmpty ? 1 : 0
            different += changes.isEmpty ? 0 : 1
            if changes.isEmpty { #expect(verdicts[0] == verdicts[1], "seed \(seed): \(texts)") }
            try differencesAreReal(changes, texts, model, seed)
            try replayAgrees(policies, callers, verdicts, seed)
        }
        #expect(try model.waitForExit() == 0)
        print(
            "compared \(rounds): \(faulty) faulty, \(permitted) permitted, \(denied) denied, \(same) same, \(different) not"
        )
        #expect(faulty > 10 && permitted > 100 && denied > 100 && different > 10)
    }

    /// The verdict on each key, as the daemon decides; `list` and `explain` say the same.
    private func verdicts(_ policy: Policy, _ caller: Caller) throws -> [Bool] {
        let listed = policy.keys(for: caller).map(\.description)
        return try Self.keys.map { key in
            let name = try #require(KeyName(key))
            var isPermitted = false
            if case .permitted = policy.verdict(on: name, for: caller) { isPermitted = true }
            #expect(policy.explanation(of: name, for: caller).isPermitted == isPermitted)
            #expect(listed.contains(key) == isPermitted)
            return isPermitted
        }
    }

    /// For each change there is a caller for whom the model tells the policies apart.
    private func differencesAreReal(
        _ changes: [PermissionChange], _ texts: [String], _ model: Program, _ seed: UInt64
    ) throws {
        let certain = changes.filter {
            $0.isCertain && $0.rule.identity != .user(65_534) && $0.rule.identity != .group(65_534)
        }
        if certain.isEmpty { return }
        let callers = certain.map { change in
            switch change.rule.identity {
            case .user(let uid): ModelCaller(uid: uid, unit: change.exampleUnit)
            case .group(let gid): ModelCaller(uid: 777, groups: [gid], unit: change.exampleUnit)
            case .unit: ModelCaller(unit: change.exampleUnit, alone: true)
            }
        }
        let question = ModelQuestion(
            machine: ["users": Self.users, "groups": Self.groups], policies: texts, callers: callers, keys: Self.keys)
        try model.send(String(decoding: try JSONEncoder().encode(question), as: UTF8.self))
        let answer = try JSONDecoder().decode(ModelAnswer.self, from: Data(try model.nextLine().utf8))
        let verdicts = try #require(answer.permitted)
        for (index, change) in certain.enumerated() {
            let place = try #require(Self.keys.firstIndex(of: change.rule.key.description))
            let (before, after) = (Array(verdicts[0][index])[place], Array(verdicts[1][index])[place])
            #expect((before, after) == (change.isGain ? ("0", "1") : ("1", "0")), "seed \(seed): \(change), \(texts)")
        }
    }

    /// A history that the model decided under the first policy, replayed under the second, changes exactly where the
    /// model changes its mind.
    private func replayAgrees(
        _ policies: [Policy], _ callers: [ModelCaller], _ verdicts: [[String]], _ seed: UInt64
    ) throws {
        var requests = Requests()
        var expected: [Bool: Int] = [:]
        for (number, caller) in callers.enumerated() {
            let (before, after) = (Array(verdicts[0][number]), Array(verdicts[1][number]))
            for (place, key) in Self.keys.enumerated() {
                // A record of a credential names root, and the unit that it is for.
                let line =
                    #"{"seq":1,"time":"t","event":"request","verb":"\#(caller.alone ? "credential" : "get")","decision":"#
                    + #""\#(before[place] == "1" ? "granted" : "denied")","reason":"r","key":"\#(key)","#
                    + #""uid":\#(caller.alone ? 0 : caller.uid ?? 0),"gid":9,"groups":\#(caller.groups.description.filter { $0 != " " })"#
                    + (caller.unit.map { #","unit":"\#($0.replacing(#"\"#, with: #"\\"#))""# } ?? "")
                    + #","chain":"x"}"#
                requests.add(try #require(LoggedRecord(Array(line.utf8)), "\(line)"))
                if before[place] != after[place] { expected[after[place] == "1", default: 0] += 1 }
            }
        }
        var found: [Bool: Int] = [:]
        for change in requests.changes(under: policies[1], unmapped: (65_534, 65_534)) {
            found[change.isGain, default: 0] += change.requests
        }
        #expect(found == expected, "seed \(seed)")
    }
}
