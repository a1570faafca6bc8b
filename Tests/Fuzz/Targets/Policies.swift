// Policies: the text, its diagnostics, the verdicts, and what the tool says of them. A NUL in the bytes, which no policy
// can have, begins a second policy to compare with.

import Policy
import PolicyReview
import Wire

func tryPolicy(_ bytes: [UInt8]) throws(Broken) {
    let parts = bytes.split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false).map { Array($0) }
    guard let first = try parsed(parts[0]) else { return }
    try judged(first)
    try require(differences(from: first, to: first).allSatisfy { !$0.isCertain }, "a policy is equal to itself")
    guard parts.count == 2, let second = try parsed(parts[1]) else { return }
    let changes = differences(from: first, to: second)
    let back = differences(from: second, to: first)
    try require(changes.count { $0.isGain } == back.count { !$0.isGain }, "what one gains the other loses")
    _ = statusDifferences(from: first, to: second)
    if changes.isEmpty { try sameVerdicts(first, second) }
}

/// The accounts of the fuzzer's machine.
var resolver: Resolver {
    Resolver(
        overflowUID: 65_534, overflowGID: 65_534,
        user: { $0.hasPrefix("w") ? .id(33) : $0 == "x" ? .failed("?") : .unknown },
        group: { $0.hasPrefix("g") ? .id(7) : .unknown },
        fault: { $0.description.contains("gone") ? "it is gone" : nil }, known: { _ in ["www-data", "games"] })
}

private let callers = [
    Caller(uid: 33, groups: [33, 7], unit: "nginx.service"), Caller(uid: 33, groups: [], unit: nil),
    Caller(uid: 5, groups: [7], unit: "a@1.service"), Caller(uid: 0, groups: [0], unit: "session-1.scope"),
    Caller(uid: nil, groups: [7], unit: "a@1.service"), Caller(unitAlone: "a@1.service"),
    Caller(unitAlone: "nginx.service"),
]

private func parsed(_ bytes: [UInt8]) throws(Broken) -> Policy? {
    let result = read([PolicyText(file: "f", bytes: bytes)], in: resolver)
    let hasError = result.diagnostics.contains { $0.severity == .error }
    try require((result.policy == nil) == hasError, "there is a policy if there is no error")
    for diagnostic in result.diagnostics {
        try require(diagnostic.location.line >= 1 || diagnostic.lines.count == 1, "an error has a line")
        try require(diagnostic.column >= 1 && diagnostic.length >= 1, "an error has a place in its line")
        try require(diagnostic.lines.allSatisfy { isPrintable($0.utf8.filter { $0 != 9 }) }, "an error is printable")
    }
    let quick = read([PolicyText(file: "f", bytes: bytes)], in: resolver, warns: false)
    func outline(_ policy: Policy?) -> [String]? { policy.map { $0.keys.keys.sorted().map(\.description) } }
    let isSame = outline(quick.policy) == outline(result.policy)
    try require(isSame, "warnings make no difference to the keys of the policy")
    try require(
        quick.policy?.permissions == result.policy?.permissions, "warnings make no difference to the permissions")
    let hasPermit = String(decoding: bytes, as: UTF8.self).contains("permit")
    try require(hasPermit || result.policy?.rules.isEmpty ?? true, "nobody gets a key without the word permit")
    return result.policy
}

private func judged(_ policy: Policy) throws(Broken) {
    let unknown = KeyName("no-such-key")
    for caller in callers {
        var permitted: [KeyName] = []
        for name in policy.keys.keys.sorted() + (unknown.map { [$0] } ?? []) {
            let explanation = policy.explanation(of: name, for: caller)
            switch policy.verdict(on: name, for: caller) {
            case .permitted(let key, let rule):
                permitted.append(name)
                try require(key.name == name && rule.key == name, "the verdict is about the key")
                try require(rule == explanation.permitting.first, "the first line that permits is the one of the log")
                try require(caller.uid != nil || caller.isUnitAlone, "nobody is permitted nothing")
            case .denied: try require(!explanation.isPermitted, "what is denied is not explained as permitted")
            }
        }
        try require(policy.keys(for: caller) == permitted, "the list has the keys that the verdict permits")
        _ = (policy.statusPermit(for: caller), policy.rules(about: Subject(user: caller, unit: caller.unit, key: nil)))
        for identity in policy.identities(of: caller) { _ = policy.names(identity) }
    }
}

private func sameVerdicts(_ first: Policy, _ second: Policy) throws(Broken) {
    for caller in callers {
        for name in Set(first.keys.keys).union(second.keys.keys) {
            let are = [first, second].map {
                if case .permitted = $0.verdict(on: name, for: caller) { true } else { false }
            }
            try require(are[0] == are[1], "policies without a difference give the same verdicts")
        }
    }
}
