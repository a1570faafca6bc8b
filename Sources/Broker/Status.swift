// The status that administrators, and whom a line permits it, can ask for with the verb S. keybrokerd(8) explains every
// line.
//
// Must never go to anybody else: it contains keys, paths, and how often callers were refused.

internal import Audit
internal import Kernel
internal import Keys
internal import Policy
internal import PolicyLoading
internal import Wire

/// How busy the server is. The broker does not know this by itself.
package struct Load {
    package let connections: Int
    package let mostConnections: Int
    /// How long the oldest unanswered request has waited.
    package let oldestWaiting: Duration

    package init(connections: Int, mostConnections: Int, oldestWaiting: Duration) {
        self.connections = connections
        self.mostConnections = mostConnections
        self.oldestWaiting = oldestWaiting
    }
}

/// When the daemon started, and the results of the reloads since then.
final class Lifetime {
    let began = Instant.now
    private(set) var policySince = Instant.now
    private(set) var applied = 0
    private(set) var rejected = 0
    /// The first line of each fault if the last reload was rejected, or the start had no policy.
    private(set) var faults: [String] = []
    private(set) var lastWasRejected = false
    /// How often the daemon began to read its policy anew.
    private(set) var reloadsBegun = 0
    /// The number of the reload that had the last result.
    private(set) var lastReload = 0
    /// When the reload began that is running, or nil if none is.
    private(set) var reloadBegan: Instant?

    func beginReload() { (reloadsBegun, reloadBegan) = (reloadsBegun + 1, .now) }

    func endReload() { reloadBegan = nil }

    func adopted() {
        (lastReload, reloadBegan) = (reloadsBegun, nil)
        applied += 1
        policySince = .now
        (faults, lastWasRejected) = ([], false)
    }

    /// - Parameter more: what an admin has to know besides.
    func rejected(_ loading: LoadResult, _ more: String?) {
        (lastReload, reloadBegan) = (reloadsBegun, nil)
        rejected += 1
        (faults, lastWasRejected) = (Self.lines(of: loading, more), true)
    }

    /// The policy at the start was faulty.
    func beganWithout(_ loading: LoadResult, _ more: String?) { faults = Self.lines(of: loading, more) }

    private static func lines(of loading: LoadResult, _ more: String?) -> [String] {
        [more].compactMap(\.self) + loading.diagnostics.filter { $0.severity == .error }.compactMap(\.lines.first)
    }
}

extension Broker {
    /// Bytes reserved for the first line about a key, and for the line that says that there are more keys.
    private static let roomForKeys = 512

    /// The first page.
    func status(under load: Load) -> StatusPage {
        let now = Instant.now
        var page = StatusPage()
        page.add(.version, version)
        page.add(.pid, Privileges.processID)
        page.add(.uptimeSeconds, life.began.until(now).wholeSeconds)
        page.add(.policy, digest ?? "none")
        page.add(.policyState, hasPolicy ? "in-force" : "faulty")
        page.add(.policyAgeSeconds, life.policySince.until(now).wholeSeconds)
        page.add(.policyKeys, policy.policy.keys.count)
        page.add(.policyPermits, policy.policy.permissions)
        page.add(.reloadsApplied, life.applied)
        page.add(.reloadsRejected, life.rejected)
        page.add(.reloadsBegun, life.reloadsBegun)
        page.add(.lastReloadNumber, life.lastReload)
        page.add(.reload, life.reloadBegan == nil ? "none" : "running")
        page.add(.reloadSeconds, life.reloadBegan?.until(now).wholeSeconds ?? 0)
        page.add(.connections, load.connections)
        page.add(.connectionsMost, load.mostConnections)
        page.add(.watches, rotations.count)
        page.add(.oldestWaitingMilliseconds, load.oldestWaiting.wholeMilliseconds)
        page.add(.signer, channels.signerState.rawValue)
        page.add(.channels, channels.count)
        if let place = credentials.place {
            page.add(.credentialSocket, place)
            page.add(.credentials, credentials.total)
        }
        page.add(.audit, ledger.isWritten ? "written" : "failing")
        page.add(.auditSeq, ledger.lastNumber)
        page.add(.auditHead, ledger.head)
        for (outcome, count) in ledger.tally.outcomes.sorted(by: { $0.key < $1.key }) {
            page.add(
                .requests,
                "\(outcome.verb?.rawValue ?? "-") \(outcome.decision.rawValue) \(outcome.reason.rawValue) \(count)",
                keeping: Self.roomForKeys)
        }
        page.add(.lastReload, life.lastWasRejected ? "rejected" : life.applied > 0 ? "applied" : "none")
        for layer in keys.sandbox.layers {
            page.add(
                .sandbox, "\(layer.name) \(layer.state ?? "missing: \(layer.reason ?? "")")", keeping: Self.roomForKeys)
        }
        page.add(.auditPath, ledger.path, keeping: Self.roomForKeys)
        for path in policy.source.paths {
            let name = policy.source.isOptional(path) ? StatusName.policyPathOptional : .policyPath
            page.add(name, path, keeping: Self.roomForKeys)
        }
        page.add(.missingAccounts, policy.missing.count)
        page.add(.outsideSandboxKeys, keys.keysOutside.count)
        for (key, path) in keys.keysOutside {
            page.add(.outsideSandbox, "\(key) \(path)", keeping: Self.roomForKeys)
        }
        page.add(.hiddenKeys, keys.keysHidden.count)
        for (key, path, setting) in keys.keysHidden {
            page.add(.hiddenKey, "\(key) \(setting.rawValue) \(path)", keeping: Self.roomForKeys)
        }
        for fault in life.faults { page.add(.lastReloadFault, fault, keeping: Self.roomForKeys) }
        for account in policy.missing.listed { page.add(.missingAccount, account, keeping: Self.roomForKeys) }
        return keys(after: nil, on: page)
    }

    /// A further page.
    func statusOfKeys(after name: KeyName) -> StatusPage { keys(after: name, on: StatusPage()) }

    private func keys(after last: KeyName?, on begun: StatusPage) -> StatusPage {
        var (page, last) = (begun, last)
        for name in ledger.names(after: last) {
            guard let counts = ledger.tally.keys[name], policy.policy.declares(name) else { continue }
            let value =
                "\(name) granted \(counts.granted) denied \(counts.denied) unavailable \(counts.unavailable) "
                + "busy \(counts.busy)"
            guard page.add(.key, value, keeping: KeyName.longest + StatusName.more.rawValue.utf8.count + 2) else {
                if let last { page.add(.more, last) }
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
