// The keys and rules of a policy as values, for who looks at all of them: the tools, and the start of the daemon.
//
// Each value is made anew from the tables when it is asked for. Must never be used where only one key is of interest:
// that is `key` and `verdict`.

package import Wire

extension Policy {
    /// Whether a line declares the key.
    package func declares(_ name: KeyName) -> Bool {
        tables.number(ofKey: name.description.utf8).map(tables.isDeclared) ?? false
    }

    /// The key of that name. Nil if no line declares it.
    package func key(_ name: KeyName) -> Key? {
        guard let number = tables.number(ofKey: name.description.utf8), tables.isDeclared(number) else { return nil }
        return tables.key(number)
    }

    /// All keys.
    package var keys: Keys { Keys(tables: tables) }

    /// All rules of who may get keys, by key.
    package var rules: Rules { rules(.key) }

    /// All rules about one right, by key.
    package func rules(_ right: Right) -> Rules { Rules(tables: tables, table: tables.table(right), right: right) }

    /// The keys of a policy, in the order of their lines.
    package struct Keys: Sendable {
        fileprivate let tables: Tables

        package var count: Int { tables.declared.count }
        package var isEmpty: Bool { tables.declared.isEmpty }

        package subscript(name: KeyName) -> Key? {
            guard let number = tables.number(ofKey: name.description.utf8), tables.isDeclared(number) else {
                return nil
            }
            return tables.key(number)
        }

        /// The names.
        package var keys: some Collection<KeyName> { tables.declared.lazy.map(tables.name) }
        package var values: some Collection<Key> { tables.declared.lazy.map(tables.key) }
    }

    /// The rules for each key, in the order of the lines.
    package struct Rules: Sequence, Sendable {
        fileprivate let tables: Tables, table: RuleTable, right: Right

        /// The keys that are permitted to somebody.
        private var permitted: some Collection<UInt32> {
            tables.keys.indices.lazy.map { UInt32($0) }.filter { !table.byKey[$0].isEmpty }
        }

        /// The rules for a key.
        private func rules(_ key: UInt32) -> [Rule] { table.byKey[key].map { tables.rule($0, right) } }

        package var count: Int { permitted.count }
        package var isEmpty: Bool { table.rules.isEmpty }
        package var keys: some Collection<KeyName> { permitted.lazy.map(tables.name) }
        package var values: some Collection<[Rule]> { permitted.lazy.map(rules) }

        /// The rules for a key. Nil if there is none.
        package subscript(name: KeyName) -> [Rule]? {
            guard let number = tables.number(ofKey: name.description.utf8) else { return nil }
            let rules = rules(number)
            return rules.isEmpty ? nil : rules
        }

        package func makeIterator() -> some IteratorProtocol<(key: KeyName, value: [Rule])> {
            permitted.lazy.map { (key: tables.name($0), value: rules($0)) }.makeIterator()
        }
    }
}
