// Decides the requests of a log again under another policy: which results would change, and which lines nobody used.
//
// Must never decide by itself: it asks the policy what the broker asks. Must never claim what the log does not show.

package import Policy
package import Wire

/// A question that another policy answers differently.
package struct ChangedOutcome: Sendable {
    package let question: Requests.Question
    package let outcome: Requests.Outcome
    /// The line that would permit it now, or nil if it would be denied.
    package let rule: Location?
    /// If it is about signatures: for what they would be permitted now, or what would be permitted no more. If any message
    /// is, each use is named too. Empty if the log does not say for what. Nil if it is about the key, or the status.
    package let uses: SigningUses?
    /// How many requests would have another result.
    package let requests: Int

    package var isGain: Bool { rule != nil }
}

extension Requests {
    /// The effect of another policy on a question. With the uses that it permits, if it is about signatures.
    private enum Effect {
        case permitted(Location, for: SigningUses?)
        case denied(stillFor: SigningUses)
        /// Denied, unless the caller was in a group that the log does not name.
        case untold
    }

    /// The requests of one question that a policy answers alike. With what they were to sign, if it is about signatures.
    private struct Part {
        let wanted: SigningUses?
        let permitted: Int, denied: Int
    }

    /// Requests for signatures are decided by what each of them was granted.
    private func parts(_ question: Question, _ outcome: Outcome) -> [Part] {
        guard question.asksForSignatures else {
            return [Part(wanted: nil, permitted: outcome.permitted, denied: outcome.denied)]
        }
        let permitted = outcome.channels.permitted.sorted { $0.key.rawValue < $1.key.rawValue }
        return permitted.map { Part(wanted: $0.key, permitted: $0.value, denied: 0) }
            + [Part(wanted: [], permitted: 0, denied: outcome.denied)]
    }

    /// The questions that `policy` would answer differently: permitted ones that it would deny, and denied ones that it
    /// would permit. A channel is denied if not all may be signed that it was granted for. Busy requests are left out,
    /// because they were not decided. Questions that the log cannot settle are left out too.
    /// - Parameter digest: the digest of `policy`, if it is known.
    package func changes(
        under policy: Policy, digest: String? = nil, unmapped: (uid: UInt32, gid: UInt32)
    ) -> [ChangedOutcome] {
        all.flatMap { question, outcome in
            parts(question, outcome).compactMap { part in
                func changed(_ rule: Location?, _ uses: SigningUses?, _ requests: Int) -> ChangedOutcome? {
                    requests == 0
                        ? nil
                        : ChangedOutcome(
                            question: question, outcome: outcome, rule: rule, uses: uses, requests: requests)
                }
                switch effect(of: policy, digest, on: question, part, outcome, unmapped) {
                case .permitted(let rule, let uses): return changed(rule, uses?.spelledOut, part.denied)
                case .denied(let still):
                    return changed(nil, part.wanted?.spelledOut.subtracting(still), part.permitted)
                case .untold, nil: return nil
                }
            }
        }
    }

    /// The questions that `policy` may permit or deny, depending on a group of which the log does not say whether the
    /// caller was in it; with the number of requests.
    package func untold(
        under policy: Policy, digest: String? = nil, unmapped: (uid: UInt32, gid: UInt32)
    ) -> [(question: Question, requests: Int)] {
        all.compactMap { question, outcome in
            let untold = parts(question, outcome).filter { part in
                if case .untold? = effect(of: policy, digest, on: question, part, outcome, unmapped) {
                    true
                } else {
                    false
                }
            }
            let requests = untold.reduce(0) { $0.plus($1.permitted).plus($1.denied) }
            return requests > 0 ? (question, requests) : nil
        }
    }

    /// Nil if a policy cannot answer the question.
    private func effect(
        of policy: Policy, _ digest: String?, on question: Question, _ part: Part, _ outcome: Outcome,
        _ unmapped: (uid: UInt32, gid: UInt32)
    ) -> Effect? {
        if question.asksForStatus { return statusEffect(of: policy, digest, on: question, outcome, unmapped) }
        guard let key = question.key.flatMap({ KeyName($0) }), question.asksForKey || question.asksForSignatures,
            let caller = question.caller(unmapped: unmapped)
        else { return nil }
        let mayBeUntold = outcome.mayHideGroups(of: question, namedBy: digest)
        if let wanted = part.wanted {
            return signingEffect(of: policy, on: question, key, caller, wanted, mayBeUntold: mayBeUntold, unmapped)
        }
        if case .permitted(_, let rule) = policy.verdict(on: key, for: caller) {
            return .permitted(rule.location, for: nil)
        }
        guard mayBeUntold else { return .denied(stillFor: []) }
        let mayPermit = (policy.rules[key] ?? []).contains { rule in
            question.mayBePermitted(by: rule, unmapped)
        }
        return mayPermit ? .untold : .denied(stillFor: [])
    }

    /// The same for signatures.
    private func signingEffect(
        of policy: Policy, on question: Question, _ key: KeyName, _ caller: Caller, _ wanted: SigningUses,
        mayBeUntold: Bool, _ unmapped: (uid: UInt32, gid: UInt32)
    ) -> Effect {
        var given: SigningUses = []
        if case .permitted(_, let uses, let rule) = policy.signingVerdict(on: key, for: caller) {
            if uses.covers(wanted) { return .permitted(rule.location, for: uses) }
            given = uses
        }
        guard mayBeUntold else { return .denied(stillFor: given) }
        let perhaps = (policy.rules(.sign)[key] ?? []).reduce(into: given) { uses, rule in
            if question.mayBePermitted(by: rule, unmapped) { uses.formUnion(rule.uses ?? []) }
        }
        return perhaps.covers(wanted) ? .untold : .denied(stillFor: given)
    }

    /// The same for the status. An administrator may ask under any policy: such a record names no line.
    private func statusEffect(
        of policy: Policy, _ digest: String?, on question: Question, _ outcome: Outcome,
        _ unmapped: (uid: UInt32, gid: UInt32)
    ) -> Effect? {
        guard outcome.denied > 0 || outcome.rule != nil, let caller = question.caller(unmapped: unmapped) else {
            return nil
        }
        if let permit = policy.statusPermit(for: caller) { return .permitted(permit.location, for: nil) }
        guard outcome.mayHideGroups(of: question, namedBy: digest) else { return .denied(stillFor: []) }
        let mayPermit = policy.statusPermits.contains { permit in
            guard case .group(let group) = permit.identity else { return false }
            return question.caller(with: [group], unmapped: unmapped).map { policy.statusPermit(for: $0) != nil }
                ?? false
        }
        return mayPermit ? .untold : .denied(stillFor: [])
    }

    /// The keys of `policy` that nobody used, and the rules by which nobody did. If two rules permit the same, both count
    /// as used. A grant that was not delivered does not count.
    package func unused(of policy: Policy, unmapped: (uid: UInt32, gid: UInt32)) -> (keys: [Key], rules: [Rule]) {
        var usedKeys: Set<KeyName> = []
        var usedOf: [KeyName: Set<Location>] = [:]
        for (question, outcome) in all where outcome.used > 0 {
            guard let key = question.key.flatMap({ KeyName($0) }), question.asksForKey || question.asksForSignatures,
                let caller = question.caller(unmapped: unmapped)
            else { continue }
            usedKeys.insert(key)
            let right: Right = question.asksForSignatures ? .sign : .key
            for rule in policy.rules(right)[key] ?? [] where rule.permits(caller) {
                if let uses = rule.uses, !outcome.channels.usedFor.contains(where: uses.overlaps) { continue }
                usedOf[key, default: []].insert(rule.location)
            }
        }
        let keys = policy.keys.values.filter { !usedKeys.contains($0.name) }
        let rules = Right.allCases.flatMap { policy.rules($0) }.flatMap { key, rules in
            rules.filter { usedOf[key]?.contains($0.location) != true }
        }
        return (
            keys.sorted { $0.name < $1.name },
            rules.sorted { ($0.location.file, $0.location.line, $0.key) < ($1.location.file, $1.location.line, $1.key) }
        )
    }
}

extension Requests {
    /// The lines of `policy` by which nobody asked for the status. An administrator needs none, so its queries use none.
    /// Of queries that were counted the log has only the uid and the line of that time.
    package func unusedStatusPermits(of policy: Policy, unmapped: (uid: UInt32, gid: UInt32)) -> [StatusPermit] {
        var uses: [(caller: Caller, line: String?)] = []
        for (question, outcome) in all where question.asksForStatus && outcome.used > 0 {
            guard let rule = outcome.rule else { continue }
            let known = question.caller(unmapped: unmapped)
            uses.append((known ?? Caller(uid: question.uid, groups: [], unit: nil), known == nil ? rule : nil))
        }
        return policy.statusPermits.filter { permit in
            !uses.contains { permit.permits($0.caller) || $0.line == permit.location.description }
        }
    }
}

extension Requests.Question {
    /// Whether it was a request for a key, for a caller or for a unit, and not for a list, a version or a status.
    package var asksForKey: Bool { verb == "get" || verb == "watch" || isForUnit }
    /// Whether it was a request for the status.
    package var asksForStatus: Bool { verb == "status" }
    /// Whether the service manager asked for a unit (LoadCredential=).
    package var isForUnit: Bool { verb == "credential" }
}

extension Requests.Question {
    /// Whether a rule about a group would permit it, if the caller was in that group.
    fileprivate func mayBePermitted(by rule: Rule, _ unmapped: (uid: UInt32, gid: UInt32)) -> Bool {
        guard case .group(let group) = rule.identity else { return false }
        return caller(with: [group], unmapped: unmapped).map(rule.permits) == true
    }
}

extension Requests.Outcome {
    /// Whether the caller may have been in groups that a policy names and these records do not. If that policy was in force,
    /// they name all of them.
    fileprivate func mayHideGroups(of question: Requests.Question, namedBy digest: String?) -> Bool {
        question.hasOtherGroups && !(digest != nil && policy == digest.map { Array($0.utf8) })
    }
}
