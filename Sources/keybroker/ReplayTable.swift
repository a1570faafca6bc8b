// The output of keybroker policy replay: what another policy would change.
//
// Must never print a byte of a record that is not printable ASCII. Must never leave out requests that the log does not
// say enough about.

internal import AuditReading
internal import Kernel
internal import LocalTime
internal import Policy
internal import Wire

/// The table of changes, followed by the requests that cannot be decided.
struct ReplayTable {
    private var table: Table
    private let untold: [(key: String, user: UInt32, requests: Int)]

    /// - Parameter digest: the SHA-256 of the policy.
    init(_ requests: Requests, under policy: Policy, digest: String?, unmapped: (uid: UInt32, gid: UInt32)) {
        let names = Names()
        let rows = requests.changes(under: policy, digest: digest, unmapped: unmapped).map { change in
            let last = (change.isGain ? change.outcome.lastDenial : change.outcome.lastPermitted) ?? change.outcome.last
            let right = change.uses?.changedRight ?? (change.question.key == nil ? "status" : Right.key.rawValue)
            let cells: [String?] = [
                change.isGain ? "gains" : "loses", change.question.key,
                change.question.isForUnit
                    ? change.question.unit.map { Identity.unitPrefix + $0 }
                    : names.user(change.question.uid, logged: change.outcome.user), change.question.unit,
                String(change.requests), WallTime(rfc3339: last)?.local ?? last,
                change.rule?.description ?? change.outcome.rule, right,
            ]
            return (change, cells)
        }
        // Losses come first, because they break a service.
        let sorted = rows.sorted { left, right in
            let order = (left.0.isGain ? 1 : 0, right.0.isGain ? 1 : 0)
            return order.0 != order.1
                ? order.0 < order.1
                : left.1.map { $0 ?? "" }.lexicographicallyPrecedes(right.1.map { $0 ?? "" })
        }
        // A column says so if some requests were not for a key, but for the status or for signatures.
        let hasRights = rows.contains { $0.0.question.key == nil || $0.0.uses != nil }
        table = Table(
            columns: ["change", "key", "user", "unit", "requests", "last", "line"] + (hasRights ? ["right"] : []),
            numbers: ["requests"])
        for (_, cells) in sorted { table.add(hasRights ? cells : cells.dropLast()) }
        var sums: [String: [UInt32: Int]] = [:]
        for (question, count) in requests.untold(under: policy, digest: digest, unmapped: unmapped) {
            let key = question.key ?? "the status"
            sums[key, default: [:]][question.uid] = (sums[key]?[question.uid] ?? 0).plus(count)
        }
        untold = sums.flatMap { key, users in users.map { (key, $0.key, $0.value) } }
            .sorted { ($0.key, $0.user) < ($1.key, $1.user) }
    }

    /// For programs: one JSON object per line.
    var objects: [String] {
        var rest = Table(columns: ["change", "key", "uid", "requests"], numbers: ["uid", "requests"])
        for (key, user, requests) in untold { rest.add(["untold", key, String(user), String(requests)]) }
        return table.objects + rest.objects
    }

    /// For people.
    var lines: [String] {
        guard !untold.isEmpty else { return table.lines }
        let count = untold.reduce(0) { $0.plus($1.requests) }
        let who = untold.map { "\(printable($0.key)) by uid \($0.user)" }.joined(separator: ", ")
        return table.lines + [
            "\(counted(count, "request")) cannot be told: the log has only the groups that the policy of that time "
                + "named: \(who)"
        ]
    }
}
