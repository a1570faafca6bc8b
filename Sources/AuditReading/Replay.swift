// What really happened, decided anew: which requests of the log would come out otherwise under another
// policy, and which lines of a policy nobody used.
//
// Must never decide by itself: it asks the policy what the broker asks it.

package import Policy
internal import Wire

/// A question that another policy answers otherwise.
package struct Change: Sendable {
    package let question: Requests.Question
    package let outcome: Requests.Outcome
    /// The line that would permit it now; nil where it would be denied.
    package let rule: Rule?
    /// How many of the requests would come out otherwise.
    package let requests: Int

    package var isGain: Bool { rule != nil }
}

extension Requests {
    /// The questions whose answers would be others under `policy`: permitted ones that would be denied, and
    /// denied ones that would be permitted. What was busy was not decided.
    package func changes(under policy: Policy, unmapped: (uid: UInt32, gid: UInt32)) -> [Change] {
        all.compactMap { question, outcome in
            guard let key = question.key.flatMap({ KeyName($0) }), question.isGet,
                let caller = question.caller(unmapped: unmapped)
            else { return nil }
            let permitted = outcome.granted + outcome.unavailable
            switch policy.verdict(on: key, for: caller) {
            case .permitted(_, let rule):
                guard outcome.denied > 0 else { return nil }
                return Change(question: question, outcome: outcome, rule: rule, requests: outcome.denied)
            case .denied:
                guard permitted > 0 else { return nil }
                return Change(question: question, outcome: outcome, rule: nil, requests: permitted)
            }
        }
    }

    /// The keys of `policy` that nobody got, and the rules by which nobody got one. Where two rules permit the
    /// same, both count as used.
    package func unused(of policy: Policy, unmapped: (uid: UInt32, gid: UInt32)) -> (keys: [Key], rules: [Rule]) {
        var usedKeys: Set<KeyName> = []
        var usedOf: [KeyName: Set<Place>] = [:]
        for (question, outcome) in all where outcome.granted + outcome.unavailable > 0 {
            guard let key = question.key.flatMap({ KeyName($0) }), question.isGet,
                let caller = question.caller(unmapped: unmapped)
            else { continue }
            usedKeys.insert(key)
            for rule in policy.rules[key] ?? [] where rule.permits(caller) {
                usedOf[key, default: []].insert(rule.place)
            }
        }
        let keys = policy.keys.values.filter { !usedKeys.contains($0.name) }
        let rules = policy.rules.flatMap { key, rules in
            rules.filter { usedOf[key]?.contains($0.place) != true }
        }
        return (
            keys.sorted { $0.name < $1.name },
            rules.sorted { ($0.place.file, $0.place.line, $0.key) < ($1.place.file, $1.place.line, $1.key) }
        )
    }
}

extension Requests.Question {
    package var isGet: Bool { verb == "get" }
}
