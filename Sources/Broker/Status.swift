// What the broker says of itself to its administrators: the verb S. keybrokerd(8) lists every line.
//
// Must never be told to anybody else: it names keys, paths and how often who was refused.

internal import Audit
internal import Kernel
internal import Policy
internal import PolicyLoading
internal import Wire

/// How busy the server is, which the broker does not know by itself.
package struct Load {
    package let connections: Int
    package let mostConnections: Int
    /// How long the request has waited that waits longest.
    package let oldestWaiting: Duration

    package init(connections: Int, mostConnections: Int, oldestWaiting: Duration) {
        self.connections = connections
        self.mostConnections = mostConnections
        self.oldestWaiting = oldestWaiting
    }
}

/// When the daemon began, and what became of the policies since.
final class Lifetime {
    let began = Instant.now
    private(set) var policySince = Instant.now
    private(set) var applied = 0
    private(set) var rejected = 0
    /// The first lines of the diagnostics of the last reload, where it was rejected.
    private(set) var faults: [String] = []
    private(set) var lastWasRejected = false

    func adopted(_ loading: LoadResult) {
        applied += 1
        policySince = .now
        (faults, lastWasRejected) = ([], false)
    }

    func rejected(_ loading: LoadResult) {
        rejected += 1
        let errors = loading.diagnostics.filter { $0.severity == .error }
        (faults, lastWasRejected) = (errors.compactMap(\.lines.first), true)
    }
}

extension Broker {
    /// Room that is kept for the first line about a key, and for the one that says that there is more.
    private static let roomForKeys = 512

    /// The first page.
    func status(under load: Load) -> StatusPage {
        let now = Instant.now
        var page = StatusPage()
        page.add("version", version)
        page.add("pid", Privileges.processID)
        page.add("uptime-seconds", life.began.until(now).wholeSeconds)
        page.add("policy", policy.digest)
        page.add("policy-age-seconds", life.policySince.until(now).wholeSeconds)
        page.add("policy-keys", policy.policy.keys.count)
        page.add("policy-permits", policy.policy.rules.values.reduce(0) { $0 + $1.count })
        page.add("reloads-applied", life.applied)
        page.add("reloads-rejected", life.rejected)
        page.add("connections", load.connections)
        page.add("connections-most", load.mostConnections)
        page.add("oldest-waiting-milliseconds", load.oldestWaiting.wholeMilliseconds)
        page.add("audit", ledger.isWritten ? "written" : "failing")
        page.add("audit-seq", ledger.lastNumber)
        page.add("audit-head", ledger.head)
        for (outcome, count) in ledger.tally.outcomes.sorted(by: { $0.key < $1.key }) {
            page.add(
                "requests",
                "\(outcome.verb?.rawValue ?? "-") \(outcome.decision.rawValue) \(outcome.reason.rawValue) \(count)",
                keeping: Self.roomForKeys)
        }
        page.add("last-reload", life.lastWasRejected ? "rejected" : life.applied > 0 ? "applied" : "none")
        for wall in keys.sandbox.walls {
            page.add(
                "sandbox", "\(wall.name) \(wall.state ?? "missing: \(wall.reason ?? "")")", keeping: Self.roomForKeys)
        }
        page.add("audit-path", ledger.path, keeping: Self.roomForKeys)
        for path in policy.source.paths {
            let name = policy.source.isOptional(path) ? "policy-path-optional" : "policy-path"
            page.add(name, path, keeping: Self.roomForKeys)
        }
        page.add("outside-sandbox-keys", keys.keysOutside.count)
        for (key, path) in keys.keysOutside {
            page.add("outside-sandbox", "\(key) \(path)", keeping: Self.roomForKeys)
        }
        for fault in life.faults { page.add("last-reload-fault", fault, keeping: Self.roomForKeys) }
        return keys(after: nil, on: page)
    }

    /// A further page.
    func statusOfKeys(after name: KeyName) -> StatusPage { keys(after: name, on: StatusPage()) }

    private func keys(after last: KeyName?, on begun: StatusPage) -> StatusPage {
        var (page, last) = (begun, last)
        let rest = ledger.tally.keys.keys.filter { name in last.map { $0 < name } ?? true }.sorted()
        for name in rest {
            guard let counts = ledger.tally.keys[name] else { continue }
            let value =
                "\(name) granted \(counts.granted) denied \(counts.denied) unavailable \(counts.unavailable) "
                + "busy \(counts.busy)"
            guard page.add("key", value, keeping: KeyName.longest + StatusPage.more.utf8.count + 2) else {
                if let last { page.add(StatusPage.more, last) }
                break
            }
            last = name
        }
        return page
    }
}

extension Tally.Outcome: Comparable {
    static func < (left: Self, right: Self) -> Bool {
        (left.verb?.rawValue ?? "", left.decision.rawValue, left.reason.rawValue)
            < (right.verb?.rawValue ?? "", right.decision.rawValue, right.reason.rawValue)
    }
}
