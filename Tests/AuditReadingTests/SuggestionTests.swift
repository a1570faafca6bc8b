// The policy that `policy suggest` writes: under it nothing is lost that was granted, nothing else is gained, and no line of
// it is idle.

import AuditReading
import Foundation
import Policy
import TestSupport
import Testing
import Wire

struct SuggestionTests {
    private let folder = TemporaryFolder("suggestion")
    private let unmapped: (uid: UInt32, gid: UInt32) = (65_534, 65_534)

    private static let units = ["a.service", "b@1.service", "b@2.service", "c.scope", "session-1.scope"]
    private static let patterns = ["*", "a.service", "b@*.service", "*.scope", "b@2.service"]
    private static let keys = ["k1", "k2", "k3"]
    private static let clauses = ["", " for tls-server", " for tls-client", " for tls-server tls-client"]

    private func policy(_ lines: [String]) throws -> Policy {
        let bytes = Array(lines.map { $0 + "\n" }.joined().utf8)
        let reading = read([PolicyText(file: "p", bytes: bytes)], in: numbersOnly)
        return try #require(reading.policy, "\(lines) \(reading.diagnostics)")
    }

    private func randomPolicy(_ random: inout Seeded) throws -> Policy {
        var lines = Self.keys.map { "key \($0) /\($0)" }
        for _ in 0..<Int.random(in: 1...8, using: &random) {
            let key = Self.keys.randomElement(using: &random) ?? ""
            let unit = Self.patterns.randomElement(using: &random) ?? ""
            let clause = Self.clauses.randomElement(using: &random) ?? ""
            switch Int.random(in: 0..<10, using: &random) {
            case 7: lines.append("permit unit:\(unit) sign \(key)\(clause)")
            case 8: lines.append("permit :\(Int.random(in: 10...12, using: &random)) sign \(key)\(clause)")
            case 9:
                let place = Bool.random(using: &random) ? " unit \(unit)" : ""
                lines.append("permit \(Int.random(in: 1...3, using: &random))\(place) sign \(key)\(clause)")
            case 5: lines.append("permit unit:\(unit) status")
            case 6:
                let who = ["", ":1"].randomElement(using: &random) ?? ""
                lines.append("permit \(who)\(Int.random(in: 1...3, using: &random)) status")
            case 0: lines.append("permit unit:\(unit) key \(key)")
            case 1: lines.append("permit :\(Int.random(in: 10...12, using: &random)) key \(key)")
            case 2: lines.append("permit :\(Int.random(in: 10...12, using: &random)) unit \(unit) key \(key)")
            case 3: lines.append("permit \(Int.random(in: 1...3, using: &random)) key \(key)")
            default: lines.append("permit \(Int.random(in: 1...3, using: &random)) unit \(unit) key \(key)")
            }
        }
        return try policy(lines)
    }

    /// Records of random requests, as the policy decides them.
    private func history(_ policy: Policy, _ random: inout Seeded) throws -> [String] {
        let ids: [UInt32] = [1, 2, 3, 65_534, 61_300]
        return try (0..<Int.random(in: 1...40, using: &random)).map { number in
            let key = Self.keys.randomElement(using: &random) ?? ""
            let uid = ids.randomElement(using: &random) ?? 1
            let groups = ([10, 11, 12] as [UInt32]).filter { _ in Bool.random(using: &random) }
            // A number of `DynamicUser=` without a unit cannot be permitted again.
            let unit =
                uid == 61_300 || Int.random(in: 0..<4, using: &random) > 0
                ? Self.units.randomElement(using: &random) : nil
            let verb = ["get", "watch", "credential", "status", "sign", "sign"].randomElement(using: &random) ?? ""
            let caller =
                verb == "credential"
                ? Caller(unitAlone: unit ?? "x.service")
                : Caller(uid: uid, gid: 9, groups: groups, unit: unit, unmapped: unmapped)
            let name = try #require(KeyName(key))
            if verb == "status" { return statusRecord(number + 1, policy, caller, uid, groups) }
            var decision = #""decision":"denied","reason":"no-rule""#
            if let uses = permitted(policy, verb, name, caller) {
                decision =
                    Int.random(in: 0..<8, using: &random) == 0
                    ? #""decision":"unavailable","reason":"missing""#
                    : #""decision":"granted","reason":"permitted""# + (uses.isEmpty ? "" : #","uses":"\#(uses)""#)
            }
            let who = verb == "credential" ? 0 : uid
            let list = verb == "credential" ? "" : groups.map(String.init).joined(separator: ",")
            let place = verb == "credential" ? unit ?? "x.service" : unit
            return #""seq":\#(number + 1),"time":"2026-11-24T00:00:00.000000Z","event":"request","verb":"\#(verb)","#
                + #"\#(decision),"key":"\#(key)","uid":\#(who),"gid":9,"groups":[\#(list)]"#
                + (place.map { #","unit":"\#($0)""# } ?? "")
        }
    }

    /// For what the request is permitted, in the words of a record. Nil if it is denied.
    private func permitted(_ policy: Policy, _ verb: String, _ name: KeyName, _ caller: Caller) -> String? {
        if verb == "sign" {
            guard case .permitted(_, let uses, _) = policy.signingVerdict(on: name, for: caller) else { return nil }
            return uses.words.joined(separator: " ")
        }
        if case .permitted = policy.verdict(on: name, for: caller) { return "" }
        return nil
    }

    private func statusRecord(_ number: Int, _ policy: Policy, _ caller: Caller, _ uid: UInt32, _ groups: [UInt32])
        -> String
    {
        let rule = policy.statusPermit(for: caller)?.location.description
        let decision =
            rule.map { #""decision":"granted","reason":"permitted","rule":"\#($0)""# }
            ?? #""decision":"denied","reason":"not-administrator""#
        return #""seq":\#(number),"time":"2026-11-24T00:00:00.000000Z","event":"request","verb":"status",\#(decision),"#
            + #""uid":\#(uid),"gid":9,"groups":[\#(groups.map(String.init).joined(separator: ","))]"#
            + (caller.unit.map { #","unit":"\#($0)""# } ?? "")
    }

    private func lost(_ requests: Requests, _ lines: [String]) throws -> Int {
        // Without its line for a key, a policy is faulty, so all of it is lost.
        let bytes = Array(lines.map { $0 + "\n" }.joined().utf8)
        guard let policy = read([PolicyText(file: "s", bytes: bytes)], in: numbersOnly).policy else { return .max }
        return requests.changes(under: policy, unmapped: unmapped).filter { !$0.isGain }.reduce(0) { $0 + $1.requests }
    }

    /// For random policies and histories: nothing is lost under `replay`; without any one line, or any one key or use of
    /// a line, something is; and nobody may have what was not permitted to that user and unit in the log.
    @Test func nothingIsLostAndNoLineIsIdle() throws {
        let rounds = UInt64(ProcessInfo.processInfo.environment["KEYBROKER_MODEL_ROUNDS"] ?? "") ?? 300
        var (lines, empty) = (0, 0)
        for seed in 0..<min(rounds, 20_000) {
            var random = Seeded(state: seed)
            let policy = try randomPolicy(&random)
            let requests = try requests(try history(policy, &random), in: folder)
            let suggestion = Suggestion(requests, unmapped: unmapped)
            #expect(suggestion.unsayable.isEmpty, "seed \(seed)")
            let permits = suggestion.lines { String($0) }
            let text = suggestion.keys.sorted().map { "key \($0) /\($0)" } + permits
            #expect(try lost(requests, text) == 0, "seed \(seed): \(text)")
            for index in text.indices {
                var less = text
                less.remove(at: index)
                #expect(try lost(requests, less) > 0, "seed \(seed): \(text[index]) is idle in \(text)")
                let words = text[index].split(separator: " ")
                guard words[0] == "permit", let right = words.firstIndex(where: { $0 == "key" || $0 == "sign" }) else {
                    continue
                }
                let clause = words.firstIndex(of: "for") ?? words.count
                for place in words.indices.dropFirst(right + 1) where place != clause {
                    // One that stands alone goes with the line.
                    if place < clause ? clause == right + 2 : words.count == clause + 2 { continue }
                    var fewer = words
                    fewer.remove(at: place)
                    less = text
                    less[index] = fewer.joined(separator: " ")
                    #expect(try lost(requests, less) > 0, "seed \(seed): \(words[place]) is idle in \(text)")
                }
            }
            lines += permits.count
            empty += permits.isEmpty ? 1 : 0
            try nothingElseIsPermitted(text, requests, seed)
        }
        #expect(lines > 100 && empty > 0)
    }

    /// Tries all users, units and keys: who is permitted something was permitted it, there or in any unit.
    private func nothingElseIsPermitted(_ text: [String], _ requests: Requests, _ seed: UInt64) throws {
        let suggested = try policy(text)
        nobodyElseMayAsk(suggested, requests, seed)
        let permitted = requests.all.filter { $0.outcome.permitted > 0 && $0.question.asksForKey }.map(\.question)
        let signed = requests.all.filter { $0.outcome.permitted > 0 && $0.question.asksForSignatures }
        for key in Self.keys {
            let name = try #require(KeyName(key))
            for uid in [1, 2, 3, 4, 61_300] as [UInt32] {
                for unit in Self.units + [nil] {
                    let caller = Caller(uid: uid, groups: [9, 10, 11, 12], unit: unit)
                    func isOf(_ question: Requests.Question) -> Bool {
                        let isThere = question.unit == unit
                        if question.key != key { return false }
                        if question.isForUnit || question.uid == 61_300, isThere { return true }
                        return question.uid == uid && (question.unit == nil || isThere)
                    }
                    if case .permitted(_, let uses, _) = suggested.signingVerdict(on: name, for: caller) {
                        // What is not known was any message.
                        let known = signed.filter { isOf($0.question) }.flatMap(\.outcome.channels.permitted.keys)
                            .reduce(into: SigningUses()) { $0.formUnion($1.isEmpty ? .anything : $1) }
                        #expect(
                            known.contains(.anything) || known.isSuperset(of: uses),
                            "seed \(seed): \(uid) in \(unit ?? "no unit") signs with \(key) by \(text)")
                    }
                    guard case .permitted = suggested.verdict(on: name, for: caller) else { continue }
                    let isKnown = permitted.contains(where: isOf)
                    #expect(isKnown, "seed \(seed): \(uid) in \(unit ?? "no unit") gets \(key) by \(text)")
                }
            }
        }
    }

    /// The same for the status: by the user's number, or the unit of a user of DynamicUser=.
    private func nobodyElseMayAsk(_ suggested: Policy, _ requests: Requests, _ seed: UInt64) {
        let permitted = requests.all.filter { $0.outcome.permitted > 0 && $0.question.asksForStatus }.map(\.question)
        for uid in [1, 2, 3, 4, 61_300] as [UInt32] {
            for unit in Self.units + [nil] {
                let caller = Caller(uid: uid, groups: [9, 10, 11, 12], unit: unit)
                guard suggested.statusPermit(for: caller) != nil else { continue }
                let isKnown = permitted.contains { $0.uid == uid || $0.uid == 61_300 && ($0.unit == unit) }
                #expect(isKnown, "seed \(seed): \(uid) in \(unit ?? "no unit") may ask")
            }
        }
    }

    /// An administrator needs no line, and the log has a line for nobody else without one.
    @Test func whoAskedForTheStatusMayAskAgain() throws {
        func status(_ number: Int, _ fields: String) -> String {
            #""seq":\#(number),"time":"2026-11-24T00:00:00.000000Z","event":"request","verb":"status","#
                + #""decision":"granted",\#(fields)"#
        }
        let folded = #""reason":"folded","suppressed":9"#
        let requests = try requests(
            [
                status(1, #""reason":"permitted","uid":0,"gid":0,"groups":[]"#), status(2, #"\#(folded),"uid":0"#),
                status(3, #""reason":"permitted","uid":5,"gid":5,"groups":[],"unit":"m.service","rule":"old:1""#),
                status(4, #"\#(folded),"uid":5,"rule":"old:1""#), status(5, #"\#(folded),"uid":6,"rule":"old:1""#),
                status(6, #""reason":"permitted","uid":61300,"gid":5,"groups":[],"unit":"d.service","rule":"old:2""#),
                status(7, #"\#(folded),"uid":61300,"rule":"old:2""#),
                status(8, #"\#(folded),"uid":61301,"rule":"old:2""#),
            ], in: folder)
        let suggestion = Suggestion(requests, unmapped: unmapped)
        #expect(
            suggestion.lines { String($0) } == ["permit 5 status", "permit 6 status", "permit unit:d.service status"])
        // Where the last of them ran is not in the log.
        #expect(suggestion.unsayable.map(\.uid) == [61_301])
        let policy = try policy([
            "permit 5 status", "permit 7 status", "permit 0 status", "permit unit:d.service status",
        ])
        #expect(
            requests.unusedStatusPermits(of: policy, unmapped: unmapped).map(\.writtenIdentity) == ["7", "0"])
    }

    private func record(_ number: Int, _ fields: String) -> String {
        #""seq":\#(number),"time":"2026-11-24T00:00:00.000000Z","event":"request","verb":"get","decision":"granted","#
            + #""reason":"permitted","gid":9,"groups":[],\#(fields)"#
    }

    @Test func logins() throws {
        // Each login has another number, so the number is left open.
        let requests = try requests(
            [
                record(1, #""key":"a","uid":1,"unit":"session-7.scope""#),
                record(2, #""key":"b","uid":1,"unit":"session-8.scope""#),
            ], in: folder)
        let lines = Suggestion(requests, unmapped: unmapped).lines { _ in "alice" }
        #expect(lines == ["permit alice unit session-*.scope key a b"])
    }

    @Test func whatNoLineCanPermitIsTold() throws {
        let requests = try requests(
            [record(1, #""key":"a","uid":65534"#), record(2, #""key":"a","uid":1,"unit":"not a unit""#)], in: folder)
        let suggestion = Suggestion(requests, unmapped: unmapped)
        #expect(suggestion.unsayable.count == 2)
        #expect(suggestion.permits.isEmpty)
    }

    @Test func longLinesAreSplit() throws {
        let names = (0..<60).map { "a-key-with-quite-a-long-name-\($0)" }
        let requests = try requests(
            names.enumerated().map { record($0.offset + 1, #""key":"\#($0.element)","uid":1"#) }, in: folder)
        let lines = Suggestion(requests, unmapped: unmapped).lines { String($0) }
        #expect(lines.count == 2)
        #expect(try policy(names.map { "key \($0) /x" } + lines).rules.count == 60)
    }

    @Test func theFilesAreThoseOfTheLastGrant() throws {
        var files = KeyFiles()
        func add(_ path: String, _ rest: String = "") throws {
            let line = #"{"seq":1,"key":"k","file":{"path":"\#(path)","dev":1}\#(rest),"chain":"x"}"#
            files.add(try #require(LoggedRecord(Array(line.utf8)), "\(line)"))
        }
        try add("/old")
        try add(#"/new\u005ckey"#, #","certificate":{"path":"/crt","dev":1}"#)
        #expect(files.files["k"]?.key == #"/new\key"#)
        #expect(files.files["k"]?.certificate == "/crt")
        // What cannot stand in a policy is no path.
        for bad in ["/a b", "relative", "/a#b", "/folder/"] {
            try add(bad)
            #expect(files.files["k"]?.key == #"/new\key"#)
        }
    }
}
