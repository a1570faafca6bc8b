// The policy's meaning, proved against a second mind: a model in Python that goes by keybroker.policy(5)
// (Tests/PolicyTests/Model/model.py). Faults, verdict and its line, the status, list, explanation, limits, differences and
// replay agree with it.
//
// 400 pairs of policies by default, with 160 verdicts on each; KEYBROKER_MODEL_ROUNDS says how many, and
// KEYBROKER_MODEL_SEED with which seed they begin.

import AuditReading
import Foundation
import Policy
import PolicyReview
import TestSupport
import Testing
import Wire

extension ModelCaller {
    fileprivate var caller: Caller {
        if alone { return Caller(unitAlone: unit ?? "") }
        return Caller(uid: uid ?? .max, gid: 9, groups: groups, unit: unit, unmapped: (65_534, 65_534))
    }
}

@Suite(.enabled(if: installed("python3") != nil, "needs python3"))
struct ModelTests {
    private static let users: [String: UInt32] = ["www-data": 33, "alice": 1000, "alice-too": 1000, "nobody": 65_534]
    private static let groups: [String: UInt32] = ["www-data": 33, "tls-ops": 200, "nogroup": 65_534]
    private static let people = [
        "www-data", "alice", "alice-too", ":tls-ops", ":www-data", "33", ":200", "1", ":33", "0", "65534", ":65534",
        "nobody", ":nogroup", "ghost", ":ghosts", "007", "1000", ":1000",
    ]
    private static let keys = ["a", "b.c", "0-_"]
    private static let uids: [UInt32] = [0, 1, 7, 33, 200, 1000, 65_534]
    private static let gids: [UInt32] = [0, 33, 200, 1000, 65_534]
    private static var machine: Resolver {
        Resolver(
            overflowUID: 65_534, overflowGID: 65_534, user: { users[$0].map { .id($0) } ?? .unknown },
            group: { groups[$0].map { .id($0) } ?? .unknown }, fault: { _ in nil })
    }

    private func parsed(_ text: String) -> Policy? {
        read([PolicyText(file: "p", bytes: Array(text.utf8))], in: Self.machine).policy
    }

    private struct Counts {
        var faulty = 0, permitted = 0, denied = 0, looks = 0, excluded = 0, same = 0, different = 0
    }

    private static func number(_ variable: String) -> UInt64? {
        ProcessInfo.processInfo.environment[variable].flatMap { UInt64($0) }
    }

    /// Faulty alike, permitted alike and by the same line, listed alike, limited alike; and `diff` and `replay` name what
    /// the model tells apart.
    @Test func allAgreeWithTheModel() throws {
        let rounds = Self.number("KEYBROKER_MODEL_ROUNDS") ?? 400
        let first = Self.number("KEYBROKER_MODEL_SEED") ?? 1_000_000
        let model = try PolicyModel(users: Self.users, groups: Self.groups, keys: Self.keys)
        var counts = Counts()
        for round in 0..<rounds {
            let seed = first &+ round
            var maker = RandomPolicies(seed: seed, people: Self.people, keys: Self.keys.map { ($0, "/\($0)") })
            var text = maker.text()
            // Each of them has its turn.
            let oddities = RandomPolicies.oddities
            if round % 4 == 0 { text += "\n" + oddities[Int(round / 4) % oddities.count] }
            let texts = [text, maker.once(in: 2) ? maker.neighbour(of: text) : maker.text()]
            let callers = (0..<20).map { _ in maker.caller(uids: Self.uids, gids: Self.gids) }
            let answers = try model.ask(texts, callers)
            let policies = texts.map(parsed)
            for (index, answer) in answers.enumerated() {
                #expect(
                    (policies[index] == nil) == (answer.faulty != nil), "seed \(seed): \(answer)\n\(texts[index])")
                if answer.faulty != nil { counts.faulty += 1 }
                guard let policy = policies[index], answer.faulty == nil else { continue }
                try agree(policy, callers, answer, &counts, "seed \(seed) under \(texts[index])")
            }
            guard let old = policies[0], let new = policies[1], let before = answers[0].lines,
                let after = answers[1].lines
            else { continue }
            let changes = differences(from: old, to: new)
            counts.same += changes.isEmpty ? 1 : 0
            counts.different += changes.isEmpty ? 0 : 1
            for (place, key) in Self.keys.enumerated()
            where !changes.contains(where: { $0.rule.key.description == key }) {
                #expect(
                    before.map { $0[place] > 0 } == after.map { $0[place] > 0 }, "seed \(seed): \(key) in \(texts)")
            }
            try differencesAreReal(changes, texts, model, seed)
            try statusDiffersAlike(statusDifferences(from: old, to: new), texts, callers, before, after, model, seed)
            try replayAgrees(new, callers, before, after, seed)
        }
        try model.stop()
        print("compared \(rounds) pairs from seed \(first): \(counts)")
        #expect(counts.faulty > 10 && counts.permitted > 100 && counts.denied > 100 && counts.different > 10)
        #expect(counts.looks > 10 && counts.excluded > 10)
    }

    private func agree(
        _ policy: Policy, _ callers: [ModelCaller], _ answer: ModelAnswer, _ counts: inout Counts, _ context: String
    ) throws {
        let (lines, excluded) = (try #require(answer.lines), try #require(answer.excluded))
        let bounds = try #require(answer.bounds)
        for (number, asking) in callers.enumerated() {
            let caller = asking.caller
            let listed = policy.keys(for: caller).map(\.description)
            var found: [Int] = []
            for (place, key) in Self.keys.enumerated() {
                let name = try #require(KeyName(key))
                var line = 0
                if case .permitted(_, let rule) = policy.verdict(on: name, for: caller) { line = rule.location.line }
                found.append(line)
                let explanation = policy.explanation(of: name, for: caller)
                #expect(explanation.isPermitted == (line > 0), "\(context): \(asking)")
                #expect((explanation.permitting.first?.location.line ?? 0) == line, "\(context): \(asking)")
                #expect(explanation.excluding.isEmpty != excluded[number][place], "\(context): \(asking)")
                #expect(listed.contains(key) == (line > 0), "\(context): \(asking)")
                counts.excluded += excluded[number][place] ? 1 : 0
            }
            found.append(policy.statusPermit(for: caller)?.location.line ?? 0)
            #expect(found == lines[number], "\(context): \(asking)")
            counts.looks += (found.last ?? 0) > 0 ? 1 : 0
            counts.permitted += found.dropLast().count { $0 > 0 }
            counts.denied += found.dropLast().count { $0 == 0 }
            let limits = policy.bounds(for: caller)
            #expect(
                [limits.channels, limits.connections, limits.requests, limits.watches] == bounds[number],
                "\(context): limits of \(asking)")
        }
    }

    /// For each change there is a caller for whom the model tells the policies apart.
    private func differencesAreReal(
        _ changes: [PermissionChange], _ texts: [String], _ model: PolicyModel, _ seed: UInt64
    ) throws {
        let certain = changes.filter(\.isCertain)
        if certain.isEmpty { return }
        let callers = certain.map { noticing($0.rule.identity, unit: $0.exampleUnit) }
        let answers = try model.ask(texts, callers)
        let (before, after) = (try #require(answers[0].lines), try #require(answers[1].lines))
        for (index, change) in certain.enumerated() {
            let place = try #require(Self.keys.firstIndex(of: change.rule.key.description))
            let isPermitted = (before[index][place] > 0, after[index][place] > 0)
            #expect(isPermitted == (!change.isGain, change.isGain), "seed \(seed): \(change), \(texts)")
        }
    }

    private func noticing(_ identity: Identity, unit: String?) -> ModelCaller {
        switch identity {
        case .user(let uid): ModelCaller(uid: uid, unit: unit)
        case .group(let gid): ModelCaller(uid: 777, groups: [gid], unit: unit)
        case .unit: ModelCaller(unit: unit, alone: true)
        }
    }

    /// A change of the status is one that the model knows, and where there is none, it knows none. Root may ask in any case.
    private func statusDiffersAlike(
        _ changes: [StatusChange], _ texts: [String], _ callers: [ModelCaller], _ before: [[Int]], _ after: [[Int]],
        _ model: PolicyModel, _ seed: UInt64
    ) throws {
        let place = Self.keys.count
        for (number, caller) in callers.enumerated() where caller.uid != 0 {
            let (old, new) = (before[number][place] > 0, after[number][place] > 0)
            #expect(old == new || changes.contains { $0.isGain == new }, "seed \(seed): \(caller), \(texts)")
        }
        // In which of its units a unit would notice, the change does not say.
        let certain = changes.filter { $0.isCertain && $0.permit.identity.unit == nil }
        if certain.isEmpty { return }
        let answers = try model.ask(texts, certain.map { noticing($0.permit.identity, unit: nil) })
        for (index, change) in certain.enumerated() {
            #expect(change.permit.identity != .user(0), "seed \(seed): \(texts)")
            let (old, new) = (
                try #require(answers[0].lines)[index][place], try #require(answers[1].lines)[index][place]
            )
            #expect((old > 0, new > 0) == (!change.isGain, change.isGain), "seed \(seed): \(change), \(texts)")
        }
    }

    /// A history that the model decided under the first policy, replayed under the second, changes exactly where the
    /// model changes its mind.
    private func replayAgrees(
        _ policy: Policy, _ callers: [ModelCaller], _ before: [[Int]], _ after: [[Int]], _ seed: UInt64
    ) throws {
        var requests = Requests()
        var expected: [Bool: Int] = [:]
        for (number, caller) in callers.enumerated() {
            for (place, key) in (Self.keys + [nil]).enumerated() {
                let (old, new) = (before[number][place], after[number][place] > 0)
                // The service manager asks for no status, and what root asks for does not depend on a line.
                if key == nil, caller.alone || caller.uid == 0 { continue }
                let verb = key == nil ? "status" : caller.alone ? "credential" : "get"
                // A record of a credential names root, and the unit that it is for.
                let line =
                    #"{"seq":1,"time":"t","event":"request","verb":"\#(verb)","decision":"#
                    + #""\#(old > 0 ? "granted" : "denied")","reason":"r""# + (key.map { #","key":"\#($0)""# } ?? "")
                    + #","uid":\#(caller.alone ? 0 : caller.uid ?? 0),"gid":9,"#
                    + #""groups":\#(caller.groups.description.filter { $0 != " " })"#
                    + (caller.unit.map { #","unit":"\#($0.replacing(#"\"#, with: #"\\"#))""# } ?? "")
                    + (old > 0 ? #","rule":"p:\#(old)""# : "") + #","chain":"x"}"#
                requests.add(try #require(LoggedRecord(Array(line.utf8)), "\(line)"))
                if (old > 0) != new { expected[new, default: 0] += 1 }
            }
        }
        var found: [Bool: Int] = [:]
        for change in requests.changes(under: policy, unmapped: (65_534, 65_534)) {
            found[change.isGain, default: 0] += change.requests
        }
        #expect(found == expected, "seed \(seed)")
    }
}
