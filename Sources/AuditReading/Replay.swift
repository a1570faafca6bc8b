// Decides the requests of a log again under another policy: which results would change, and which lines nobody used.
//
// Must never decide by itself: it asks the policy what the broker asks. Must never claim what the log does not show.

package import Policy
internal import Wire

/// A question that another policy answers differently.
package struct ChangedOutcome: Sendable {
    package let question: Requests.Question
    package let outcome: Requests.Outcome
    /// The line that would permit it now, or nil if it would be denied.
    package let rule: Location?
    /// How many requests would have another result.
    package let requests: Int

    package var isGain: Bool { rule != nil }
}

extension Requests {
    /// The effect of another policy on a question.
    private enum Effect {
        case permitted(Location)
        case denied
        /// Denied, unless the caller was in a group that the log does not name.
        case untold
    }

    /// The questions that `policy` would answer differently: permitted ones that it would deny, and denied ones that it
    /// would permit. Busy requests are left out, because they were not decided. Questions that the log cannot settle
    /// are left out too.
    /// - Parameter digest: the digest of `policy`, if it is known.
    package func changes(
        under policy: Policy, digest: String? = nil, unmapped: (uid: UInt32, gid: UInt32)
    ) -> [ChangedOutcome] {
        all.compactMap { question, outcome in
            switch effect(of: policy, digest, on: question, outcome, unmapped) {
            case .permitted(let rule):
                guard outcome.denied > 0 else { return nil }
                return ChangedOutcome(question: question, outcome: outcome, rule: rule, requests: outcome.denied)
            case .denied:
                guard outcome.permitted > 0 else { return nil }
                return ChangedOutcome(question: question, outcome: outcome, rule: nil, requests: outcome.permitted)
            case .untold, nil: return nil
            }
        }
    }

    /// The questions that `policy` may permit or deny, depending on a group of which the log does not say whether the
    /// caller was in it; with the number of requests.
    package func untold(
        under policy: Policy, digest: String? = nil, unmapped: (uid: UInt32, gid: UInt32)
    ) -> [(question: Question, requests: Int)] {
        all.compactMap { question, outcome in
            let requests = outcome.permitted.plus(outcome.denied)
            guard requests > 0, case .untold? = effect(of: policy, digest, on: question, outcome, unmapped) else {
                return nil
            }
            return (question, requests)
        }
    }

    /// Nil if a policy cannot answer the question.
    private func effect(
        of policy: Policy, _ digest: String?, on question: Question, _ outcome: Outcome,
        _ unmapped: (uid: UInt32, gid: UInt32)
    ) -> Effect? {
        if question.asksForStatus { return statusEffect(of: policy, digest, on: question, outcome, unmapped) }
        guard let key = question.key.flatMap({ KeyName($0) }), question.asksForKey,
            let caller = question.caller(unmapped: unmapped)
        else { return nil }
        if case .permitted(_, let rule) = policy.verdict(on: key, for: caller) { return .permitted(rule.location) }
        // If this policy was in force, the records name every group that it names.
        let namesAll = digest != nil && outcome.policy == digest.map { Array($0.utf8) }
        guard question.hasOtherGroups, !namesAll else { return .denied }
        let mayPermit = (policy.rules[key] ?? []).contains { rule in
            guard case .group(let group) = rule.identity else { return false }
            return question.caller(with: [group], unmapped: unmapped).map(rule.permits) == true
        }
        return mayPermit ? .untold : .denied
    }

    /// The same for the status. An administrator may ask under any policy: such a record names no line.
    private func statusEffect(
        of policy: Policy, _ digest: String?, on question: Question, _ outcome: Outcome,
        _ unmapped: (uid: UInt32, gid: UInt32)
    ) -> Effect? {
        guard outcome.denied > 0 || outcome.rule != nil, let caller = question.caller(unmapped: unmapped) else {
            return nil
        }
        if let permit = policy.statusPermit(for: caller) { return .permitted(permit.location) }
        let namesAll = digest != nil && outcome.policy == digest.map { Array($0.utf8) }
        guard question.hasOtherGroups, !namesAll else { return .denied }
        let mayPermit = policy.statusPermits.contains { permit in
            guard case .group(let group) = permit.identity else { return false }
            return question.caller(with: [group], unmapped: unmapped).map { policy.statusPermit(for: $0) != nil }
                ?? false
        }
        return mayPermit ? .untold : .denied
    }

    /// The keys of `policy` that nobody got, and the rules by which nobody got a key. If two rules permit the same,
    /// both count as used. A grant that was not delivered does not count.
    package func unused(of policy: Policy, unmapped: (uid: UInt32, gid: UInt32)) -> (keys: [Key], rules: [Rule]) {
        var usedKeys: Set<KeyName> = []
        var usedOf: [KeyName: Set<Location>] = [:]
        for (question, outcome) in all where outcome.used > 0 {
            guard let key = question.key.flatMap({ KeyName($0) }), question.asksForKey,
                let caller = question.caller(unmapped: unmapped)
            else { continue }
            usedKeys.insert(key)
            for rule in policy.rules[key] ?? [] where rule.permits(caller) {
                usedOf[key, default: []].insert(rule.location)
            }
        }
        let keys = policy.keys.values.filter { !usedKeys.contains($0.name) }
        let rules = policy.rules.flatMap { key, rules in
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
