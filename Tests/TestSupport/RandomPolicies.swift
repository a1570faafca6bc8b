// Random policies and callers, from a seed, for tests that compare what is said of them.
//
// Must never depend on what the machine has: the accounts that lines name are those that a test brings.

/// Makes lines, policies and callers at random. The same seed makes the same ones.
package struct RandomPolicies {
    package var random: Seeded
    /// The words for users and groups that lines may name.
    let people: [String]
    /// The keys, with their paths.
    let keys: [(name: String, path: String)]
    /// Whether a real daemon is asked. Then no line sets a limit, for which a test would wait, and most lines are about
    /// users and groups in any unit, because the unit of a caller cannot be chosen.
    let isForDaemon: Bool

    package init(seed: UInt64, people: [String], keys: [(name: String, path: String)], isForDaemon: Bool = false) {
        random = Seeded(state: seed)
        (self.people, self.keys, self.isForDaemon) = (people, keys, isForDaemon)
    }

    static let patterns = [
        "x.service", "*", "*.service", "*.scope", "x*.service", "*x.service", "x*y.service", "x@*.service",
        "**.service", "x.ser*", "*x*y*", #"x\x2dy.service"#, "a.b.service", "*.service*", "*.*", "session-*.scope",
    ]
    static let units = [
        "x.service", "xy.service", "xay.service", "x@1.service", "x@.service", #"x\x2dy.service"#, "axb.service",
        "a.b.service", "aXb.service", "x.scope", "session-1.scope", "x.service.scope", ".service",
    ]
    /// Words in places where they are faulty, or where it takes a careful reader to tell. They are about the keys `a`
    /// and `z`, and the user `alice` with the uid 1000.
    package static let oddities = [
        "permit alice key", "permit key a", "permit alice unit x.service", "permit unit:x.service unit * key a",
        "permit unit: key a", "permit : key a", "permit 4294967294 key a", "permit 4294967295 key a",
        "permit 4294967296 key a", "permit 007 key a", "permit alice unit x key a", "permit alice unit .service key a",
        "permit alice key a#b", "permit alice key a # b", "#permit alice key a", "permit\talice\tkey\ta",
        " permit alice key a ", "permit alice key a a", "key a /other", "key z /z certificate", "key z z", "key z /z/",
        "key z //", "key z credential:z", "key z credential:z/y", "key Z /z", "key z /z certificate /c extra",
        "key z /z crt /c", "key z credential:..", "limit alice", "limit alice watches", "limit alice watches 0",
        "limit alice watches 65536", "limit alice watches 65537", "limit alice requests 1000000",
        "limit alice requests 1000001", "limit unit:x.service watches 1", "limit each-user watches 3 watches 4",
        "limit alice watches +3", "limit alice watches 03", "limit 1000 watches 3", "deny alice key a",
        "permit alice key A", "permit alice key none", "permit Alice key a", "permit bob key a",
        "limit each-user unit x.service", "limit bob watches 1\nlimit bob watches 2", "limit bob watches 1 watches 2",
        "limit alice watches 1\nlimit 1000 watches 2", "permit alice status", "permit alice status status",
        "permit alice unit x.service status", "permit unit:* status", "permit unit:x status", "permit status",
        "permit alice key status", "permit anyone key a", "never anyone key", "never anyone key unless",
        "never anyone key unless alice", "never anyone key a unless", "never anyone key a unless unless",
        "never anyone unless alice", "never anyone status", "never anyone key none", "never anyone key a unless anyone",
        "never each-user key a", "never anyone unit x.service key a", "never unit:x key a", "never : key a",
        "never anyone key a unless :", "never anyone key a unless 4294967295", "never anyone key a unless unit:x",
        "never unit:.scope key a", "never alice key a#", "never\tbob\tkey\ta", "never :65534 key a a",
        "include /etc/keybroker/more", "permit alice \\", "permit alice key a\r", "# \u{e9}", "permit alice\0 key a",
        "\u{c}", "#" + String(repeating: "x", count: 1023), "#" + String(repeating: "x", count: 1024), "", "\t#",
    ]

    package mutating func one<T>(of all: [T]) -> T { all[Int.random(in: all.indices, using: &random)] }

    /// True once in so many times.
    package mutating func once(in times: Int) -> Bool { Int.random(in: 0..<times, using: &random) == 0 }

    /// The words for somebody: a user, a group or a unit.
    private mutating func who() -> String {
        once(in: 5) ? "unit:\(one(of: Self.patterns))" : one(of: people)
    }

    private mutating func names() -> String {
        let all = keys.map(\.name)
        return (0..<Int.random(in: 1...2, using: &random)).map { _ in one(of: all) }.joined(separator: " ")
    }

    private mutating func permit() -> String {
        if isForDaemon, !once(in: 3) { return "permit \(one(of: people)) key \(names())" }
        return switch Int.random(in: 0..<16, using: &random) {
        case 0..<6: "permit \(one(of: people)) key \(names())"
        case 6..<11: "permit \(one(of: people)) unit \(one(of: Self.patterns)) key \(names())"
        case 11..<14: "permit unit:\(one(of: Self.patterns)) key \(names())"
        default: "permit \(who()) status"
        }
    }

    /// Most of these except many, because a policy that one of them finds faulty tells little else.
    private mutating func never() -> String {
        let whom = once(in: 3) ? "anyone" : who()
        let unless = once(in: 8) ? [] : (0..<Int.random(in: 1...6, using: &random)).map { _ in who() }
        return "never \(whom) key \(names())" + (unless.isEmpty ? "" : " unless " + unless.joined(separator: " "))
    }

    private mutating func limit() -> String {
        let whom = once(in: 5) ? "each-user" : one(of: people)
        return
            "limit \(whom) \(one(of: ["connections", "requests", "watches", "channels"])) \(Int.random(in: 1...9, using: &random))"
    }

    /// One line, but none about a key.
    package mutating func line(never hasNever: Bool) -> String {
        if hasNever, once(in: 4) { return never() }
        return !isForDaemon && once(in: 5) ? limit() : permit()
    }

    /// A whole policy. Half of them have `never` lines.
    package mutating func text() -> String {
        let hasNever = Bool.random(using: &random)
        var lines = keys.map { "key \($0.name) \($0.path)" }
        for _ in 0..<one(of: isForDaemon ? [4, 6, 8, 12, 20] : [0, 1, 2, 3, 4, 5, 6, 8, 20]) {
            lines.append(line(never: hasNever))
        }
        if once(in: 40) { lines.removeFirst() }
        if once(in: 4) { lines.append("# permit \(people[0]) key \(keys[0].name)") }
        if once(in: 4), let last = lines.last, !last.hasPrefix("key"), !last.hasPrefix("limit") { lines.append(last) }
        return lines.shuffled(using: &random).joined(separator: "\n")
    }

    /// The same policy with another line, without one, or in another order.
    package mutating func neighbour(of text: String) -> String {
        var lines = text.split(separator: "\n").map(String.init).shuffled(using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: lines.append(line(never: false))
        case 1:
            if let index = lines.lastIndex(where: { !$0.hasPrefix("key") }) { lines.remove(at: index) }
        default: break
        }
        return lines.joined(separator: "\n")
    }

    /// A caller, or a unit alone. One in thirty has hundreds of groups.
    package mutating func caller(uids: [UInt32], gids: [UInt32]) -> ModelCaller {
        let unit = once(in: 4) ? nil : one(of: Self.units)
        if once(in: 6) { return ModelCaller(unit: unit ?? "x.service", alone: true) }
        var groups = gids.filter { _ in once(in: 3) }
        if once(in: 30) { groups += 2000..<2300 }
        return ModelCaller(uid: one(of: uids), groups: groups, unit: unit)
    }
}
