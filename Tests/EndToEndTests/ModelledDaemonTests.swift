// Real daemons with random policies, asked under many uids and groups: what they answer and write into the log, what the
// tool says of the same policy, and what the model says (Tests/PolicyTests/Model/model.py) is the same.
//
// 2 policies by default, each with a neighbour; KEYBROKER_DAEMON_ROUNDS says how many, and KEYBROKER_DAEMON_SEED with which
// seed they begin. Must never depend on an account of the machine.

import Foundation
import TestSupport
import Testing

/// What `policy diff` or `policy replay` says, one row.
private struct Row: Decodable {
    let change: String
    let key: String?
    let who: String?
    let user: String?
    let uid: UInt32?
    let requests: Int?
}

@Suite(.enabled(if: isRoot, "needs root: callers under many uids"))
struct ModelledDaemonTests {
    private let folder = TemporaryFolder("modelled")

    private static let keys = ["a", "b.c", "0-_"]
    private static let undeclared = "none"
    private static let uids: [UInt32] = [0, 61_101, 61_102, 61_103, 65_534, Daemon.uid]
    private static let gids: [UInt32] = [0, 61_201, 61_202, 61_203, 65_534]
    private static let people = [
        "61101", "61102", "061101", ":61201", ":61202", ":61203", "0", ":0", "65534", ":65534", "62001", "62002",
        "keybroker-no-such-user", ":keybroker-no-such-group",
    ]
    private static let requests = ["1L"] + keys.map { "1G" + $0 } + ["1G" + undeclared, "1S"]

    private struct Counts {
        var policies = 0, granted = 0, denied = 0, looks = 0, lists = 0, ownRecords = 0, folded = 0
        /// The highest number that a caller of this daemon was told.
        var newest = 0
        var expectations = 0, explanations = 0, changes = 0, replayed = 0, untold = 0
    }

    private static func number(_ variable: String) -> UInt64? {
        ProcessInfo.processInfo.environment[variable].flatMap { UInt64($0) }
    }

    private func tool(_ arguments: [String]) throws -> (status: Int32, output: String, errors: String) {
        try Program.run(Program.built("keybroker"), arguments, directory: folder.path)
    }

    private func rows(_ arguments: [String]) throws -> [Row] {
        let result = try tool(arguments + ["--format", "json"])
        #expect(result.status == 0, "\(arguments): \(result.errors)")
        return try result.output.split(separator: "\n").map {
            try JSONDecoder().decode(Row.self, from: Data($0.utf8))
        }
    }

    @Test func theDaemonDecidesAsTheModelAndTheToolSay() throws {
        let rounds = Self.number("KEYBROKER_DAEMON_ROUNDS") ?? 2
        let first = Self.number("KEYBROKER_DAEMON_SEED") ?? 2_000_000
        let model = try PolicyModel(users: [:], groups: [:], keys: Self.keys)
        for key in Self.keys { try folder.write("key-\(key)", "KEY \(key)", mode: 0o600) }
        var counts = Counts()
        for round in 0..<rounds {
            try oneRound(seed: first &+ round, model, &counts)
        }
        try model.stop()
        print("daemons from seed \(first): \(counts)")
        #expect(counts.granted > 0 && counts.denied > 0 && counts.looks > 0 && counts.ownRecords > 0)
    }

    private func oneRound(seed: UInt64, _ model: PolicyModel, _ counts: inout Counts) throws {
        var maker = RandomPolicies(
            seed: seed, people: Self.people, keys: Self.keys.map { ($0, folder["key-\($0)"]) }, isForDaemon: true)
        let open = "\nlimit each-user requests 1000000\n"
        // The tool finds the same policies faulty. The daemon serves none of them.
        func good(_ make: () -> String) throws -> String {
            while true {
                let text = make() + open
                let isFaulty = try model.ask([text], [])[0].faulty != nil
                try folder.write("candidate", text)
                #expect((try tool(["policy", "check", "candidate"]).status == 0) == !isFaulty, "seed \(seed): \(text)")
                if !isFaulty { return text }
            }
        }
        let old = try good { maker.text() }
        let isNeighbour = maker.once(in: 2)
        let new = try good { isNeighbour ? maker.neighbour(of: old) : maker.text() }
        let askers = (0..<24).map { number in
            let uid = maker.once(in: 3) ? 62_001 + UInt32(number) : maker.one(of: Self.uids)
            let groups = Self.gids.filter { _ in maker.once(in: 3) }
            return Asker(
                uid: uid, gid: maker.once(in: 3) ? maker.one(of: Self.gids) : 61_999,
                groups: groups + (maker.once(in: 12) ? Array(63_000..<63_200) : []), requests: Self.requests)
        }
        try? FileManager.default.removeItem(atPath: folder["log"])
        try folder.write("new", new)
        let daemon = try Daemon(folder, policy: old)
        counts.newest = 0
        defer { if daemon.program.isRunning { _ = try? daemon.kill() } }
        try folder.write("old", old)
        let peers = try Askers(daemon.socket)
        let context = "seed \(seed)\n\(old)\n---\n\(new)"

        let before = try peers.ask(askers)
        let records = try daemon.records()
        // The unit of this process, if the kernel tells one: callers are its children.
        let unit = records.compactMap { $0["unit"] as? String }.first
        let callers = askers.map { $0.caller(in: unit) }
        let answers = try model.ask([old, new], callers)
        let (oldLines, newLines) = (try #require(answers[0].lines), try #require(answers[1].lines))
        try compare(before, records, askers, oldLines, policy: old, &counts, context)
        try replay(records, model, old: old, new: new, audit: daemon.audit, &counts, context)

        try folder.write("policy", new)
        let said = try daemon.reload()
        #expect(said.contains("read anew"), "\(context): \(said)")
        let after = try peers.ask(askers)
        try compare(after, try daemon.records(), askers, newLines, policy: new, &counts, context)
        try peers.stop()
        try daemon.stop()
        try difference(before, after, askers, &counts, context)
        try expectations(of: new, askers, model, &maker, &counts, context)
        counts.policies += 2
    }

    // MARK: The daemon, its log, and the model

    private func compare(
        _ replies: [[AskedReply]], _ records: [[String: Any]], _ askers: [Asker], _ lines: [[Int]], policy: String,
        _ counts: inout Counts, _ context: String
    ) throws {
        let bySeq = Dictionary(
            uniqueKeysWithValues: records.compactMap { record in
                (record["seq"] as? Int).map { ($0, record) }
            })
        for (number, asker) in askers.enumerated() {
            let what = "\(context)\n\(asker): \(replies[number])"
            let permitted = Self.keys.indices.filter { lines[number][$0] > 0 }.map { Self.keys[$0] }
            let list = replies[number][0].packet.dropFirst(2).split(separator: "\n").map(String.init)
            #expect(list == permitted.sorted(), "\(what)")
            counts.lists += 1
            for (place, key) in (Self.keys + [Self.undeclared]).enumerated() {
                let reply = replies[number][place + 1]
                let line = place < Self.keys.count ? lines[number][place] : 0
                #expect(reply.status == (line > 0 ? "K" : "D"), "\(what): \(key), line \(line)")
                defer { counts.newest = max(counts.newest, reply.decision) }
                let record = try #require(bySeq[reply.decision], "\(what): \(key)")
                if line > 0 {
                    #expect(reply.contents == ["KEY \(key)"], "\(what)")
                    #expect(record["decision"] as? String == "granted" && record["key"] as? String == key, "\(what)")
                    #expect(record["rule"] as? String == "\(folder["policy"]):\(line)", "\(what): \(record)")
                    #expect((record["uid"] as? Int).map { UInt32($0) } == asker.uid, "\(what)")
                    counts.granted += 1
                    counts.ownRecords += 1
                } else {
                    #expect(reply.contents.isEmpty, "\(what)")
                    // One of those that are counted together is told the number of the record that says so.
                    let isDenied = record["decision"] as? String == "denied" || record["reason"] as? String == "folded"
                    #expect(record["rule"] == nil && isDenied, "\(what): \(record)")
                    // Who is told a number that was told before was counted, and has no record of its own.
                    let isOwn = reply.decision > counts.newest && record["reason"] as? String != "folded"
                    if isOwn {
                        #expect(record["key"] as? String == key, "\(what): \(record)")
                        #expect((record["uid"] as? Int).map { UInt32($0) } == asker.uid, "\(what): \(record)")
                        let isDeclared = policy.contains("key \(key) ")
                        let reason = !isDeclared ? "unknown-key" : asker.uid == 65_534 ? "overflow-uid" : "no-rule"
                        #expect(record["reason"] as? String == reason, "\(what): \(record)")
                    }
                    counts.denied += 1
                    counts.ownRecords += isOwn ? 1 : 0
                    counts.folded += isOwn ? 0 : 1
                }
            }
            let mayLook = asker.uid == 0 || asker.uid == Daemon.uid || lines[number][Self.keys.count] > 0
            #expect(replies[number].last?.status == (mayLook ? "S" : "D"), "\(what)")
            counts.looks += mayLook ? 1 : 0
            counts.newest = max(counts.newest, replies[number].last?.decision ?? 0)
        }
    }

    // MARK: The log under another policy

    /// Each request that has a record of its own, decided again by the model with the groups that the record names.
    private func replay(
        _ records: [[String: Any]], _ model: PolicyModel, old: String, new: String, audit: String,
        _ counts: inout Counts, _ context: String
    ) throws {
        let asked = records.filter {
            guard let verb = $0["verb"] as? String, $0["suppressed"] == nil, $0["reason"] as? String != "folded" else {
                return false
            }
            let isDenied = $0["decision"] as? String == "denied"
            return verb == "get" || (verb == "status" && (isDenied || $0["rule"] != nil))
        }
        func ids(_ record: [String: Any], _ field: String) -> [UInt32] {
            (record[field] as? [Int] ?? (record[field] as? Int).map { [$0] } ?? []).map { UInt32($0) }
        }
        func caller(_ record: [String: Any], with more: [UInt32]) -> ModelCaller {
            ModelCaller(
                uid: ids(record, "uid").first, groups: ids(record, "gid") + ids(record, "groups") + more,
                unit: record["unit"] as? String)
        }
        let known = try #require(try model.ask([new], asked.map { caller($0, with: []) })[0].lines)
        let any = try #require(try model.ask([new], asked.map { caller($0, with: Self.gids) })[0].lines)
        var expected: [String: Int] = [:]
        for (number, record) in asked.enumerated() {
            let key = record["key"] as? String
            guard let place = key.map({ Self.keys.firstIndex(of: $0) }) ?? Self.keys.count else { continue }
            let (was, isPermitted) = (record["decision"] as? String == "granted", known[number][place] > 0)
            let who = "\(key ?? "-") \(ids(record, "uid").first ?? 0)"
            let mayBe = any[number][place] > 0 && record["other-groups"] != nil && old != new
            if !isPermitted, mayBe {
                expected["untold \(key ?? "the status") \(ids(record, "uid").first ?? 0)", default: 0] += 1
                counts.untold += 1
            } else if was != isPermitted {
                expected["\(isPermitted ? "gains" : "loses") \(who)", default: 0] += 1
                counts.replayed += 1
            }
        }
        var found: [String: Int] = [:]
        for row in try rows(["policy", "replay", "--policy", folder["new"], "--audit", audit]) {
            // `61101`, or `root(0)` if the machine has such an account.
            let number = row.user?.split { $0 == "(" || $0 == ")" }.last.flatMap { UInt32($0) }
            let uid = try #require(row.uid ?? number, "\(context)\n\(row)")
            found["\(row.change) \(row.key ?? "-") \(uid)", default: 0] += row.requests ?? 0
        }
        #expect(found == expected, "\(context)")
    }

    // MARK: The difference between the policies

    /// Where the daemon changed its mind, `policy diff` has a line about that caller.
    private func difference(
        _ before: [[AskedReply]], _ after: [[AskedReply]], _ askers: [Asker], _ counts: inout Counts, _ context: String
    ) throws {
        let changes = try rows(["policy", "diff", "old", "new"])
        for (number, asker) in askers.enumerated() {
            for (place, key) in (Self.keys + [nil]).enumerated() {
                let at = key == nil ? Self.requests.count - 1 : place + 1
                let (was, isNow) = (before[number][at].status != "D", after[number][at].status != "D")
                if was == isNow { continue }
                counts.changes += 1
                let isListed = changes.contains { row in
                    guard row.change == (isNow ? "gains" : "loses"), row.key == key, let who = row.who else {
                        return false
                    }
                    let ids = who.hasPrefix(":") ? [asker.gid] + asker.groups : [asker.uid]
                    return who.hasPrefix("unit:")
                        || UInt32(who.drop { $0 == ":" }).map(ids.contains) == true
                }
                #expect(isListed, "\(context)\n\(asker): \(key ?? "status")")
            }
        }
    }

    // MARK: What the tool says

    /// `policy test` and `policy explain` about callers without groups, in units that nobody here can run in.
    private func expectations(
        of policy: String, _ askers: [Asker], _ model: PolicyModel, _ maker: inout RandomPolicies,
        _ counts: inout Counts, _ context: String
    ) throws {
        let callers = (0..<200).compactMap { _ -> ModelCaller? in
            let caller = maker.caller(uids: [61_101, 61_102, 61_103, 62_001, 65_534], gids: [])
            // The tool says of that name that no unit has it.
            if caller.unit == ".service" { return nil }
            return ModelCaller(uid: caller.uid, unit: caller.unit, alone: caller.alone)
        }
        let lines = try #require(try model.ask([policy], callers)[0].lines)
        var text: [String] = []
        for (number, caller) in callers.enumerated() {
            let who = caller.alone ? "unit:\(caller.unit ?? "")" : "\(caller.uid ?? 0)"
            let unit = caller.alone ? "" : caller.unit.map { " unit \($0)" } ?? ""
            for (place, key) in (Self.keys.map { "key \($0)" } + ["status"]).enumerated() {
                text.append("expect \(who)\(unit) \(key) \(lines[number][place] > 0 ? "granted" : "denied")")
            }
        }
        try folder.write("expectations", text.joined(separator: "\n") + "\n")
        let result = try tool(["policy", "test", "--policy", "new", "expectations"])
        #expect(result.output == "\(text.count) expectations met\n", "\(context): \(result.errors.prefix(2000))")
        counts.expectations += text.count
        for number in 0..<2 {
            let (caller, place) = (callers[number], Int.random(in: 0...Self.keys.count, using: &maker.random))
            let subject =
                (caller.uid.map { ["--user", String($0)] } ?? []) + (caller.unit.map { ["--unit", $0] } ?? [])
            let about = place < Self.keys.count ? ["--key", Self.keys[place]] : ["--status"]
            let line = lines[number][place]
            let said = try tool(["policy", "explain", "--policy", "new"] + subject + about)
            let second = said.output.split(separator: "\n").dropFirst().first ?? ""
            #expect(said.status == (line > 0 ? 0 : 77), "\(context): \(subject) \(about) \(said)")
            if line > 0 { #expect(second.hasPrefix("  new:\(line): "), "\(context): \(subject) \(about) \(said)") }
            counts.explanations += 1
        }
    }
}
