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
        for permit in permits { policy.add(permit.rule) }
        policy.complete()
        for mention in mentions where !policy.declares(mention.name) && !faultyKeys.contains(mention.name) {
            line = mention.line
            report("no key '\(mention.name)' is declared; a line 'key \(mention.name) PATH' is missing", mention.word)
        }
        if judges { judge() }
        // If a line is faulty, that may be the only reason why nobody may get a key.
        let isFaulty = errors > 0
        if warns { warn(isFaulty: isFaulty) }
        let all = diagnostics.sorted { $0.order < $1.order }.map(\.diagnostic)
        return ParseResult(policy: isFaulty ? nil : policy, diagnostics: all + omitted, missing: missing)
    }

    /// One diagnostic for all errors that are not listed, and one for all such warnings.
    private var omitted: [Diagnostic] {
        let file = files.last?.file ?? ""
        return [
            (Diagnostic.Severity.error, errors - Limits.policyErrors),
            (.warning, warnings - Limits.policyWarnings),
        ].filter { $0.1 > 0 }.map { Diagnostic($0, "and \($1) more", file: file, standingFor: $1) }
    }

    mutating func warn(isFaulty: Bool) {
        warnOfUselessPermits()
        warnOfUselessUnits()
        for declaration in declarations {
            line = declaration.line
            if policy.rules[declaration.name] == nil, !isFaulty {
                report("nobody may get key '\(declaration.name)': no line permits it", declaration.word, .warning)
            }
            for (source, word) in declaration.sources {
                if let fault = resolver.fault(source) { report(fault, word, .warning) }
            }
        }
    }

    /// Warns about permits that add nothing: another line permits the same key to the same identity, either without a
    /// unit or with the same one.
    mutating func warnOfUselessPermits() {
        struct Subject: Hashable {
            let key: KeyName
            let identity: Identity
        }
        // Most keys have no two lines for the same identity. That is checked first because it is quick.
        let suspects = Set(policy.rules.filter { $0.value.namesOneTwice }.keys)
        if suspects.isEmpty { return }
        let groups = Dictionary(grouping: permits.filter { suspects.contains($0.rule.key) }) {
            Subject(key: $0.rule.key, identity: $0.rule.identity)
        }
        for group in groups.values where group.count > 1 {
            let wide = group.first { $0.rule.unit == nil }
            var firstOf: [UnitPattern?: Permit] = [:]
            for permit in group {
                let rule = permit.rule
                line = permit.line
                if let wide, rule.unit != nil {
                    warn(permit, "\(wide.rule.location) permits that without a unit")
                } else if let same = firstOf[rule.unit] {
                    let isHere = same.rule.location == rule.location
                    warn(permit, isHere ? "this line names it already" : "\(same.rule.location) permits that already")
                } else {
                    firstOf[rule.unit] = permit
                }
            }
        }
    }

    /// Warns about permits to an account in a unit if another line permits the key to the whole unit.
    mutating func warnOfUselessUnits() {
        struct Subject: Hashable {
            let key: KeyName
            let unit: UnitPattern
        }
        var whole: [Subject: Rule] = [:]
        for permit in permits {
            guard case .unit(let pattern) = permit.rule.identity else { continue }
            let subject = Subject(key: permit.rule.key, unit: pattern)
            if whole[subject] == nil { whole[subject] = permit.rule }
        }
        if whole.isEmpty { return }
        for permit in permits {
            guard let unit = permit.rule.unit, let rule = whole[Subject(key: permit.rule.key, unit: unit)] else {
                continue
            }
            line = permit.line
            warn(permit, "\(rule.location) permits that to the whole unit")
        }
    }

    mutating func warn(_ permit: Permit, _ reason: @autoclosure () -> String) {
        report(
            "'\(permit.rule.key)' for \(permit.rule.writtenIdentity) adds nothing: \(reason())", permit.word, .warning)
    }
}

extension [Rule] {
    /// Whether two of the rules are for the same identity.
    fileprivate var namesOneTwice: Bool {
        if count > 8 { return Set(map(\.identity)).count < count }
        return indices.contains { index in self[..<index].contains { $0.identity == self[index].identity } }
    }
}
