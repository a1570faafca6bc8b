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
        policy.complete()
        for mention in mentions where !policy.tables.isDeclared(mention.key) {
            if policy.tables.keys[Int(mention.key)].isFaulty { continue }
            let name = policy.tables.name(mention.key)
            let word = goBack(to: mention.word, line: mention.line)
            report("no key '\(name)' is declared; a line 'key \(name) PATH' is missing", word)
        }
        if judges { judge() }
        // If a line is faulty, that may be the only reason why nobody may get a key.
        let isFaulty = errors > 0
        if warns { warn(isFaulty: isFaulty) }
        let all = diagnostics.sorted { $0.order < $1.order }.map(\.diagnostic)
        return ParseResult(policy: isFaulty ? nil : policy, diagnostics: all + omitted, missing: missing)
    }

    /// Goes back to the line of a rule. Returns the word for its key.
    mutating func goBack(to rule: UInt32) -> Word {
        let entry = policy.tables.rules[Int(rule)]
        return goBack(to: entry.word, line: entry.line)
    }

    /// One diagnostic for all errors that are not listed, and one for all such warnings.
    private var omitted: [Diagnostic] {
        let file = policy.tables.texts.files.last ?? ""
        return [
            (Diagnostic.Severity.error, errors - Limits.policyErrors),
            (.warning, warnings - Limits.policyWarnings),
        ].filter { $0.1 > 0 }.map { Diagnostic($0, "and \($1) more", file: file, standingFor: $1) }
    }

    mutating func warn(isFaulty: Bool) {
        let tables = policy.tables
        warnOfUselessPermits(tables)
        warnOfUselessUnits(tables)
        for number in tables.declared {
            let entry = tables.keys[Int(number)]
            if !isFaulty, tables.byKey[number].isEmpty {
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
    private mutating func warnOfUselessPermits(_ tables: Tables) {
        let sorted = tables.byIdentity.members
        var begin = 0
        while begin < sorted.count {
            let first = tables.rules[Int(sorted[begin])]
            var end = begin + 1
            while end < sorted.count, tables.rules[Int(sorted[end])].isAboutSame(as: first) { end += 1 }
            if end > begin + 1 { warnOfUselessPermits(sorted[begin..<end], tables) }
            begin = end
        }
    }

    /// - Parameter group: the rules for one identity and one key.
    private mutating func warnOfUselessPermits(_ group: ArraySlice<UInt32>, _ tables: Tables) {
        let wide = group.first { tables.rules[Int($0)].unit == Tables.none }
        var firstOf: [UInt32: UInt32] = [:]
        for number in group {
            let unit = tables.rules[Int(number)].unit
            if let wide, unit != Tables.none {
                warn(number, "\(tables.location(ofRule: wide)) permits that without a unit")
            } else if let same = firstOf[unit] {
                let place = tables.location(ofRule: same)
                let isHere = place == tables.location(ofRule: number)
                warn(number, isHere ? "this line names it already" : "\(place) permits that already")
            } else {
                firstOf[unit] = number
            }
        }
    }

    /// Warns about permits to an account in a unit if another line permits the key to the whole unit.
    private mutating func warnOfUselessUnits(_ tables: Tables) {
        let whole = tables.units.map { tables.number(of: .unit($0)) }
        if whole.allSatisfy({ $0 == nil }) { return }
        for (number, rule) in tables.rules.enumerated() where rule.unit != Tables.none {
            guard let unit = whole[Int(rule.unit)], let first = tables.rules(of: unit, about: rule.key).first else {
                continue
            }
            warn(UInt32(number), "\(tables.location(ofRule: first)) permits that to the whole unit")
        }
    }

    private mutating func warn(_ rule: UInt32, _ reason: @autoclosure () -> String) {
        let word = goBack(to: rule)
        let written = policy.tables.texts.string(policy.tables.rules[Int(rule)].who)
        report("'\(word.text)' for \(written) adds nothing: \(reason())", word, .warning)
    }
}

extension RuleEntry {
    fileprivate func isAboutSame(as other: RuleEntry) -> Bool { identity == other.identity && key == other.key }
}

extension Tables {
    fileprivate func location(ofRule number: UInt32) -> Location {
        texts.location(of: rules[Int(number)].word, line: rules[Int(number)].line)
    }
}
