// The keys and permissions of a policy, as tables of numbers.
//
// A key, an identity and a pattern of units each have a number, in the order in which they are first named. Permissions
// are sorted by identity and by key, so that a verdict searches only those of the caller. Must never hold an object for
// each line: a policy has up to millions of permissions, and freeing it must not stop the daemon.

internal import Wire

/// A key that is declared, or only named.
struct KeyEntry: Sendable {
    /// Where it is declared, or first named.
    var name: Part
    /// Nowhere until the key is declared.
    var source = Part.none, certificate = Part.none
    var line: UInt32 = 0
    /// A line that declares it is faulty.
    var isFaulty = false

    var isDeclared: Bool { !source.isNone }
}

/// One key of a `permit` line. The number of a rule is its place among all that are about the same right.
struct RuleEntry: Sendable {
    let identity: UInt32
    let key: UInt32
    /// `none` if the line names no unit besides.
    let unit: UInt32
    let line: UInt32
    /// The words of the line: who, and the key.
    let who: Part, word: Part
    /// For what the key may sign. Empty if the line permits the key itself.
    let uses: SigningUses
}

/// The rules about one right.
struct RuleTable: Sendable {
    private(set) var rules: [RuleEntry] = []
    /// The numbers of the rules, by key and by identity: for one identity sorted by key, and then in their order.
    private(set) var byKey = Groups(), byIdentity = Groups()

    mutating func add(_ rule: RuleEntry) { rules.append(rule) }

    /// Sorts the rules after the last line was read.
    mutating func complete(keys: Int, identities: Int) {
        let none = Groups()
        (byKey, byIdentity) = (none, none)
        byKey = Groups(rules.indices.lazy.map { UInt32($0) }, of: keys) { rules[Int($0)].key }
        byIdentity = Groups(byKey.members, of: identities) { rules[Int($0)].identity }
    }

    subscript(rule: UInt32) -> RuleEntry { rules[Int(rule)] }

    /// The rules for one identity and one key, in their order.
    /// - Parameter key: `none` takes as long as any other.
    func rules(of identity: UInt32, about key: UInt32) -> ArraySlice<UInt32> {
        let all = byIdentity[identity]
        var (low, high) = (all.startIndex, all.endIndex)
        while low < high {
            let middle = (low + high) / 2
            if rules[Int(all[middle])].key < key { low = middle + 1 } else { high = middle }
        }
        return all[low...].prefix { rules[Int($0)].key == key }
    }
}

struct Tables: Sendable {
    /// The number of what there is not.
    static let none = UInt32.max

    var texts = Texts()
    private(set) var keys: [KeyEntry] = []
    /// The keys that are declared, in the order of their lines.
    private(set) var declared: [UInt32] = []
    /// Who may get keys, and who may have them sign. They are kept apart, so that nobody gets a key by a line that only
    /// permits to sign.
    private(set) var getting = RuleTable(), signing = RuleTable()
    private(set) var identities: [Identity] = []
    private(set) var units: [UnitPattern] = []
    private var numbers: [Identity: UInt32] = [:]
    private var unitNumbers: [String: UInt32] = [:]
    private var names = NameTable()

    // MARK: Keys

    /// The number of a key that a line declares or names. Nil if none does.
    func number(ofKey name: some Collection<UInt8>) -> UInt32? {
        names.find(NameTable.hash(name)) { texts[keys[Int($0)].name].elementsEqual(name) }
    }

    /// The number of a key, which it gets here if it has none.
    mutating func intern(_ word: Word) -> UInt32 {
        let hash = NameTable.hash(word.bytes)
        if let known = names.find(hash, where: { texts[keys[Int($0)].name].elementsEqual(word.bytes) }) { return known }
        let number = UInt32(keys.count)
        keys.append(KeyEntry(name: Part(word)))
        if names.isFull { names.grow(keys.count) { NameTable.hash(texts[keys[Int($0)].name]) } }
        names.insert(number, hash)
        return number
    }

    mutating func declare(_ key: UInt32, _ name: Word, source: Word, certificate: Word?, line: Int) {
        keys[Int(key)].name = Part(name)
        keys[Int(key)].source = Part(source)
        keys[Int(key)].certificate = certificate.map(Part.init) ?? .none
        keys[Int(key)].line = UInt32(line)
        declared.append(key)
    }

    mutating func noteFault(_ key: UInt32) { keys[Int(key)].isFaulty = true }

    func isDeclared(_ key: UInt32) -> Bool { keys[Int(key)].isDeclared }

    func name(_ key: UInt32) -> KeyName { KeyName(checked: texts[keys[Int(key)].name]) }

    func key(_ number: UInt32) -> Key {
        let entry = keys[Int(number)]
        return Key(
            name: name(number), source: Source(texts[entry.source]),
            certificate: entry.certificate.isNone ? nil : Source(texts[entry.certificate]),
            location: texts.location(of: entry.name, line: entry.line))
    }

    // MARK: Rules

    func table(_ right: Right) -> RuleTable { right == .key ? getting : signing }

    /// - Parameter uses: for what the key may sign. Nil if the line permits the key itself.
    mutating func add(
        _ identity: Identity, unit: UInt32?, key: UInt32, uses: SigningUses?, line: Int, who: Word, word: Word
    ) {
        let number: UInt32
        if let known = numbers[identity] {
            number = known
        } else {
            number = UInt32(identities.count)
            identities.append(identity)
            numbers[identity] = number
        }
        let rule = RuleEntry(
            identity: number, key: key, unit: unit ?? Self.none, line: UInt32(line), who: Part(who), word: Part(word),
            uses: uses ?? SigningUses())
        if uses == nil { getting.add(rule) } else { signing.add(rule) }
    }

    /// The number of an identity that a line permits a key to, or its signatures. Nil if none does.
    func number(of identity: Identity) -> UInt32? { numbers[identity] }

    /// The number of a pattern of units that was read already. Nil if it was not.
    func number(ofUnit text: String) -> UInt32? { unitNumbers[text] }

    mutating func add(_ unit: UnitPattern) -> UInt32 {
        let number = UInt32(units.count)
        units.append(unit)
        unitNumbers[unit.description] = number
        return number
    }

    func rule(_ number: UInt32, _ right: Right) -> Rule {
        let entry = table(right)[number]
        return Rule(
            identity: identities[Int(entry.identity)], writtenIdentity: texts.string(entry.who),
            unit: entry.unit == Self.none ? nil : units[Int(entry.unit)], key: name(entry.key),
            uses: right == .key ? nil : entry.uses, location: texts.location(of: entry.word, line: entry.line))
    }

    /// Sorts the rules after the last line was read.
    mutating func complete() {
        getting.complete(keys: keys.count, identities: identities.count)
        signing.complete(keys: keys.count, identities: identities.count)
    }
}

/// Numbers in groups, which are numbers too.
struct Groups: Sendable {
    private var starts: [UInt32] = [0]
    /// Group by group.
    private(set) var members: [UInt32] = []

    init() {}

    /// Sorts the members by group. Within a group they stay in their order.
    init(_ members: some Collection<UInt32>, of count: Int, by group: (UInt32) -> UInt32) {
        starts = [UInt32](repeating: 0, count: count + 1)
        for member in members { starts[Int(group(member)) + 1] += 1 }
        for index in 0..<count { starts[index + 1] += starts[index] }
        var next = starts
        self.members = [UInt32](repeating: 0, count: members.count)
        for member in members {
            let group = Int(group(member))
            self.members[Int(next[group])] = member
            next[group] += 1
        }
    }

    /// The members of a group.
    subscript(group: UInt32) -> ArraySlice<UInt32> {
        guard Int(group) + 1 < starts.count else { return [] }
        return members[Int(starts[Int(group)])..<Int(starts[Int(group) + 1])]
    }
}

/// Finds the number of a name by a hash with a secret seed, so that the time that it takes tells nothing of other names.
struct NameTable: Sendable {
    /// A number plus one, or 0 for a free slot.
    private var slots = [UInt32](repeating: 0, count: 16)
    private var count = 0

    static func hash(_ name: some Collection<UInt8>) -> Int {
        var hasher = Hasher()
        var (word, length): (UInt64, UInt64) = (0, 0)
        for byte in name {
            word = word << 8 | UInt64(byte)
            length += 1
            if length & 7 == 0 {
                hasher.combine(word)
                word = 0
            }
        }
        hasher.combine(word)
        hasher.combine(length)
        return hasher.finalize()
    }

    func find(_ hash: Int, where isSame: (UInt32) -> Bool) -> UInt32? {
        var slot = hash & (slots.count - 1)
        while slots[slot] != 0 {
            if isSame(slots[slot] - 1) { return slots[slot] - 1 }
            slot = (slot + 1) & (slots.count - 1)
        }
        return nil
    }

    /// Whether one more name would leave too few free slots.
    var isFull: Bool { count * 2 >= slots.count }

    mutating func insert(_ number: UInt32, _ hash: Int) {
        var slot = hash & (slots.count - 1)
        while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
        slots[slot] = number + 1
        count += 1
    }

    /// Makes room for as many more names as there are.
    mutating func grow(_ known: Int, hash: (UInt32) -> Int) {
        let old = slots.filter { $0 != 0 }
        slots = [UInt32](repeating: 0, count: max(16, slots.count * 2))
        count = 0
        for number in old { insert(number - 1, hash(number - 1)) }
    }
}
