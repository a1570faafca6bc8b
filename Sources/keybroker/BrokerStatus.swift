// The broker's status, formatted for people and for programs.
//
// Must never invent a value that the broker did not send: it leaves out what is missing. Must never pass on what it did
// not understand: it leaves out a malformed line, and a second line about the same thing.

internal import Wire

/// A decoded status.
struct BrokerStatus {
    /// The number of requests with the same verb, decision and reason.
    struct Outcome {
        /// The verb of the requests. Nil if the packet was not a request.
        let verb: String?
        let decision: String
        let reason: String
        let count: UInt64
    }

    /// The requests for one key, counted by decision.
    struct Key {
        let name: String
        let counts: [(decision: String, count: UInt64)]

        /// Decodes `NAME DECISION COUNT DECISION COUNT …`, with each decision once. Nil if the text is anything else.
        init?(_ value: String) {
            let words = value.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
            guard words.count >= 3, words.count % 2 == 1, !words.contains("") else { return nil }
            var counts: [(decision: String, count: UInt64)] = []
            // The key's name is a field of its own in the output.
            var known: Set = ["key"]
            for index in stride(from: 1, to: words.count, by: 2) {
                guard let count = UInt64(words[index + 1]), known.insert(words[index]).inserted else { return nil }
                counts.append((words[index], count))
            }
            (name, self.counts) = (words[0], counts)
        }
    }

    let outcomes: [Outcome]
    let keys: [Key]
    private let page: StatusPage
    private static let grouped: Set<StatusName> = [
        .requests, .key, .policyPath, .policyPathOptional, .lastReloadFault, .sandbox, .outsideSandbox,
        .missingAccount, .hiddenKey,
    ]

    init(_ page: StatusPage) {
        self.page = page
        var known: Set<String> = []
        outcomes = page.values(.requests).compactMap { value in
            let words = value.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
            guard words.count == 4, !words.contains(""), let count = UInt64(words[3]),
                known.insert(words[..<3].joined(separator: " ")).inserted
            else { return nil }
            return Outcome(verb: words[0] == "-" ? nil : words[0], decision: words[1], reason: words[2], count: count)
        }
        known = []
        keys = page.values(.key).compactMap { Key($0) }.filter { known.insert($0.name).inserted }
    }

    func value(_ name: StatusName) -> String? { page.values(name).first }
    func number(_ name: StatusName) -> UInt64? { page.number(name) }

    /// The paths that the policy is read from. The optional one need not exist.
    private var policyPaths: (paths: [String], optional: String?) {
        (page.values(.policyPath), page.values(.policyPathOptional).first)
    }
    /// All of them, in the order in which they are read.
    var allPolicyPaths: [String] { policyPaths.paths + [policyPaths.optional].compactMap(\.self) }
    /// Whether the daemon serves nobody, because the policy at its start was faulty and is not mended yet.
    var isWithoutPolicy: Bool { value(.policyState) == "faulty" }
    var lastReloadFaults: [String] { page.values(.lastReloadFault) }
    /// What to type so that the daemon uses the policy of its files. A reload does not help if their directory was missing
    /// at its start.
    /// - Parameter reload: the command that reloads it.
    func remedy(reload: String = "keybroker reload") -> String {
        let needsRestart = isWithoutPolicy && lastReloadFaults.contains { $0.contains("only after a restart") }
        return "type: " + (needsRestart ? StandardFiles.restart(reading: allPolicyPaths) : reload)
    }
    /// Accounts that lines of the policy name and that are not found.
    var missingAccounts: [String] { page.values(.missingAccount) }

    /// The mechanisms of the daemon's sandbox, and the state of each.
    var layers: [(name: String, state: String)] { page.values(.sandbox).map(Self.split) }
    /// Keys whose files the sandbox does not permit the daemon to read.
    var keysOutside: [(key: String, path: String)] { page.values(.outsideSandbox).map(Self.split) }

    /// Keys whose files the daemon's unit hides from it, and by which setting.
    var keysHidden: [(key: String, setting: String, path: String)] {
        page.values(.hiddenKey).map { value in
            let (key, rest) = Self.split(value)
            let (setting, path) = Self.split(rest)
            return (key, setting, path)
        }
    }

    private static func split(_ value: String) -> (String, String) {
        let words = value.split(separator: " ", maxSplits: 1)
        return (String(words.first ?? ""), words.count == 2 ? String(words[1]) : "")
    }

    // MARK: For people

    /// The lines, with aligned columns.
    /// - Parameter note: a line about the policy.
    func text(note: String?) -> [String] {
        func shown(_ name: StatusName) -> String { value(name) ?? "?" }
        var lines = [
            "keybrokerd   \(shown(.version)), process \(shown(.pid)), up \(duration(.uptimeSeconds))",
            "policy       \(shown(.policy))",
            isWithoutPolicy
                ? "             FAULTY, so nobody is served; correct it, and \(remedy())"
                : "             in force for \(duration(.policyAgeSeconds)): "
                    + "\(counted(.policyKeys, "key")), \(counted(.policyPermits, "permission"))",
            "             last reload: \(shown(.lastReload)) "
                + "(\(shown(.reloadsApplied)) applied, \(shown(.reloadsRejected)) rejected)",
        ]
        if value(.reload) == "running" {
            lines.append("             a reload is running, for \(duration(.reloadSeconds))")
        }
        lines += ([note] + allPolicyPaths).compactMap(\.self).map { "             \($0)" }
        lines += lastReloadFaults.map { "             \($0)" }
        if let count = number(.missingAccounts), count > 0 {
            lines.append("             warning: \(counted(.missingAccounts, "account")) not found:")
        }
        lines += missingAccounts.map { "             \($0)" }
        lines += [
            "connections  \(shown(.connections)) of \(shown(.connectionsMost)), "
                + (value(.watches).map { "\($0) of them watch keys, " } ?? "")
                + "oldest waiting request \(shown(.oldestWaitingMilliseconds)) ms"
        ]
        if let signer { lines.append(signer) }
        lines += [
            "audit log    \(value(.auditPath) ?? ""), \(shown(.audit)), record \(shown(.auditSeq))",
            "             head \(shown(.auditHead))",
        ]
        for (index, layer) in layers.enumerated() {
            lines.append("\(index == 0 ? "sandbox      " : "             ")\(layer.name): \(layer.state)")
        }
        if let count = number(.outsideSandboxKeys), count > 0 {
            lines.append("             \(counted(.outsideSandboxKeys, "key file")) outside of it until a restart:")
        }
        lines += keysOutside.map { "             \($0.key): \($0.path)" }
        if let count = number(.hiddenKeys), count > 0 {
            lines.append("             \(counted(.hiddenKeys, "key file")) hidden by the daemon's unit:")
        }
        lines += keysHidden.map { "             \($0.key): \($0.path) (\($0.setting)=)" }
        let other = page.lines.filter { line in
            line.known.map { !Self.grouped.contains($0) && !Self.inText.contains($0) } ?? true
        }
        lines += other.map { "\($0.name)  \($0.value)" }
        var requests = Table(columns: ["request", "decision", "reason", "count"])
        for outcome in outcomes {
            requests.add([outcome.verb, outcome.decision, outcome.reason, String(outcome.count)])
        }
        if !outcomes.isEmpty { lines += [""] + requests.lines }
        // Another version of the broker may count other decisions, or different ones for each key.
        let decisions = keys.flatMap(\.counts).reduce(into: [String]()) { names, count in
            if names.count < Self.mostColumns, !names.contains(count.decision) { names.append(count.decision) }
        }
        var table = Table(columns: ["key"] + decisions)
        for key in keys {
            table.add(
                [key.name] + decisions.map { name in key.counts.first { $0.decision == name }.map { String($0.count) } }
            )
        }
        if !keys.isEmpty { lines += [""] + table.lines }
        return lines
    }

    /// The line about the process that signs. Nil if the broker sent none.
    private var signer: String? {
        guard let state = value(.signer) else { return nil }
        let said =
            switch state {
            case "ended": "ENDED, so no key signs; type: \(StandardFiles.restart(reading: allPolicyPaths))"
            case "none": "none: there is no keybroker-signer, so no key signs"
            default: state + (value(.channels) == nil ? "" : ", \(counted(.channels, "channel"))")
            }
        return "signer       \(said)"
    }

    /// The largest number of decisions in the table of keys.
    private static let mostColumns = 8

    private static let inText: Set<StatusName> = [
        .version, .pid, .uptimeSeconds, .policy, .policyState, .policyAgeSeconds, .policyKeys, .policyPermits,
        .lastReload, .reloadsApplied, .reloadsRejected, .reloadsBegun, .lastReloadNumber, .reload, .reloadSeconds,
        .connections, .connectionsMost, .watches, .signer, .channels,
        .oldestWaitingMilliseconds, .audit, .auditPath, .auditSeq, .auditHead,
        .outsideSandboxKeys, .hiddenKeys, .missingAccounts,
    ]

    private func counted(_ name: StatusName, _ thing: String) -> String {
        number(name).map { keybroker.counted(Int(clamping: $0), thing) } ?? "? \(thing)s"
    }

    /// The time in its two largest units: "3 d 4 h", "12 s".
    private func duration(_ name: StatusName) -> String {
        guard let seconds = number(name) else { return "?" }
        let parts = [
            (seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s"),
        ]
        let first = parts.firstIndex { $0.0 > 0 } ?? parts.count - 1
        return parts[first...].prefix(2).map { "\($0.0) \($0.1)" }.joined(separator: " ")
    }

    // MARK: For programs

    /// One JSON object.
    var object: String {
        var object = JSONObject()
        // If a name occurs twice, the first line counts, as it does in `value`.
        var known = Self.inObject
        for line in page.lines where line.known.map({ !Self.grouped.contains($0) }) ?? true {
            guard known.insert(line.name).inserted else { continue }
            if let number = UInt64(line.value) {
                object.add(line.name, number)
            } else {
                object.add(line.name, line.value)
            }
        }
        object.add("policy-paths", allPolicyPaths)
        object.add("last-reload-faults", lastReloadFaults)
        object.add("missing-account", missingAccounts)
        object.add("sandbox", layers) {
            $0.add("wall", $1.name); $0.add("state", $1.state)
        }
        object.add("outside-sandbox", keysOutside) {
            $0.add("key", $1.key); $0.add("path", $1.path)
        }
        object.add("hidden-key", keysHidden) {
            $0.add("key", $1.key); $0.add("setting", $1.setting); $0.add("path", $1.path)
        }
        object.add("requests", outcomes) { object, outcome in
            if let verb = outcome.verb { object.add("verb", verb) }
            object.add("decision", outcome.decision)
            object.add("reason", outcome.reason)
            object.add("count", outcome.count)
        }
        object.add("keys", keys) { object, key in
            object.add("key", key.name)
            for (decision, count) in key.counts { object.add(decision, count) }
        }
        return object.text
    }

    /// The fields that are made from several lines.
    private static let inObject: Set = [
        "policy-paths", "last-reload-faults", "sandbox", "outside-sandbox", "hidden-key", "requests", "keys",
    ]
}
