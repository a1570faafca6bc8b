// Checks that need the whole policy: names that no line declares, and lines that do not mean what their author probably
// thinks.
//
// Must never warn about anything that depends on a faulty line.

internal import Wire

extension Grammar {
    // MARK: The whole policy

    /// Makes the checks that need all lines.
    /// - Parameters:
    ///   - warns: whether to look for lines that are valid, but probably not meant so.
    ///   - judges: whether to look for permissions that `never` lines exclude.
    mutating func finish(warns: Bool, judges: Bool) -> ParseResult {
        draft.tables.complete()
        for mention in mentions where !draft.tables.isDeclared(mention.key) {
            if draft.tables.keys[Int(mention.key)].isFaulty { continue }
            let name = draft.tables.name(mention.key)
            let word = goBack(to: mention.word, line: mention.line)
            report("no key '\(name)' is declared; a line 'key \(name) PATH' is missing", word)
        }
        if judges { judge() }
        // If a line is faulty, that may be the only reason why nobody may get a key.
        let isFaulty = errors > 0
        if warns { warn(isFaulty: isFaulty) }
        let all = diagnostics.sorted { $0.order < $1.order }.map(\.diagnostic)
        return ParseResult(policy: isFaulty ? nil : Policy(draft), diagnostics: all + omitted, missing: missing)
    }

    /// Goes back to the line of a rule. Returns the word for its key.
    mutating func goBack(to rule: UInt32, _ right: Right) -> Word {
        let entry = draft.tables.table(right)[rule]
        return goBack(to: entry.word, line: entry.line)
    }

    /// One diagnostic for all errors that are not listed, and one for all such warnings.
    private var omitted: [Diagnostic] {
        let file = draft.tables.texts.files.last ?? ""
        return [
            (Diagnostic.Severity.error, errors - Limits.policyErrors),
            (.warning, warnings - Limits.policyWarnings),
        ].filter { $0.1 > 0 }.map { Diagnostic($0, "and \($1) more", file: file, standingFor: $1) }
    }

    mutating func warn(isFaulty: Bool) {
        let tables = draft.tables
        for right in Right.allCases {
            warnOfUselessPermits(tables, right)
            warnOfUselessUnits(tables, right)
        }
        for number in tables.declared {
            let entry = tables.keys[Int(number)]
            if !isFaulty, tables.getting.byKey[number].isEmpty, tables.signing.byKey[number].isEmpty {
                let word = goBack(to: entry.name, line: entry.line)
                report("nobody may get key '\(tables.name(number))': no line permits it", word, .warning)
            }
            for source in [entry.source, entry.certificate] where !source.isNone {
                guard let fault = resolver.fault(Source(tables.texts[source])) else { continue }
                report(fault, goBack(to: source, line: entry.line), .warning)
            }
        }
    }

    /// Warns about permits that add nothing: another line permits the same key to the same identity, either without a
    /// unit or with the same one.
    private mutating func warnOfUselessPermits(_ tables: Tables, _ right: Right) {
        let table = tables.table(right)
        let sorted = table.byIdentity.members
        var begin = 0
        while begin < sorted.count {
            let first = table[sorted[begin]]
            var end = begin + 1
            while end < sorted.count, table[sorted[end]].isAboutSame(as: first) { end += 1 }
            if end > begin + 1 {
                switch right {
                case .key: warnOfUselessGetting(sorted[begin..<end], tables)
                case .sign: warnOfUselessSigning(sorted[begin..<end], tables)
                }
            }
            begin = end
        }
    }

    /// - Parameter group: the rules for one identity and one key.
    private mutating func warnOfUselessGetting(_ group: ArraySlice<UInt32>, _ tables: Tables) {
        let wide = group.first { tables.getting[$0].unit == Tables.none }
        var firstOf: [UInt32: UInt32] = [:]
        for number in group {
            let unit = tables.getting[number].unit
            if let wide, unit != Tables.none {
                warn(number, .key, "\(tables.location(ofRule: wide, .key)) permits that without a unit")
            } else if let same = firstOf[unit] {
                warn(number, .key, tables.permitsAlready(same, number, .key))
            } else {
                firstOf[unit] = number
            }
        }
    }

    /// The same for permits to sign: another line must also permit all that this one does. Of two that permit the same,
    /// the later one is useless.
    /// - Parameter group: the rules for one identity and one key.
    private mutating func warnOfUselessSigning(_ group: ArraySlice<UInt32>, _ tables: Tables) {
        // Of the rules with one unit and the same uses only the first can make others useless. So there are few.
        struct Extent: Hashable {
            let unit: UInt32
            let uses: SigningUses
        }
        var firstOf: [Extent: UInt32] = [:]
        for number in group {
            let rule = tables.signing[number]
            let extent = Extent(unit: rule.unit, uses: rule.uses)
            firstOf[extent] = min(firstOf[extent] ?? .max, number)
        }
        for number in group {
            let rule = tables.signing[number]
            var other: UInt32?
            for unit in Set([rule.unit, Tables.none]) {
                for rawValue in UInt8(0)..<8 {
                    guard let wide = firstOf[Extent(unit: unit, uses: SigningUses(rawValue: rawValue))],
                        wide != number, tables.signing[wide].coversUses(of: rule)
                    else { continue }
                    let isSame = unit == rule.unit && rule.coversUses(of: tables.signing[wide])
                    if !isSame || wide < number { other = min(other ?? .max, wide) }
                }
            }
            if let other { warn(number, .sign, tables.permitsAlready(other, number, .sign)) }
        }
    }

    /// Warns about permits to an account in a unit if another line permits the key to the whole unit.
    private mutating func warnOfUselessUnits(_ tables: Tables, _ right: Right) {
        let whole = tables.units.map { tables.number(of: .unit($0)) }
        if whole.allSatisfy({ $0 == nil }) { return }
        let table = tables.table(right)
        for (number, rule) in table.rules.enumerated() where rule.unit != Tables.none {
            guard let unit = whole[Int(rule.unit)],
                let first = table.rules(of: unit, about: rule.key).first(where: { table[$0].coversUses(of: rule) })
            else { continue }
            warn(UInt32(number), right, "\(tables.location(ofRule: first, right)) permits that to the whole unit")
        }
    }

    private mutating func warn(_ rule: UInt32, _ right: Right, _ reason: @autoclosure () -> String) {
        let word = goBack(to: rule, right)
        let written = draft.tables.texts.string(draft.tables.table(right)[rule].who)
        report("'\(word.text)' for \(written) adds nothing: \(reason())", word, .warning)
    }
}

extension RuleEntry {
    fileprivate func isAboutSame(as other: RuleEntry) -> Bool { identity == other.identity && key == other.key }

    /// Whether it permits each signature that the other rule does. Of two rules about the key itself each does.
    fileprivate func coversUses(of other: RuleEntry) -> Bool {
        uses.contains(.anything) || uses.isSuperset(of: other.uses)
    }
}

extension Tables {
    fileprivate func location(ofRule number: UInt32, _ right: Right) -> Location {
        let rule = table(right)[number]
        return texts.location(of: rule.word, line: rule.line)
    }

    /// How a warning says that one rule makes another useless.
    fileprivate func permitsAlready(_ rule: UInt32, _ other: UInt32, _ right: Right) -> String {
        let place = location(ofRule: rule, right)
        return place == location(ofRule: other, right) ? "this line names it already" : "\(place) permits that already"
    }
}
