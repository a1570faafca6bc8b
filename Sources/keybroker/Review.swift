// The output of keybroker audit summary, an access review: who used which key, who was denied, and what nobody uses.
//
// Must never print a byte of a record that is not printable ASCII. Must never overflow because of the numbers in a log.

internal import AuditReading
internal import Kernel
internal import LocalTime
internal import Policy
internal import Wire

/// The requests of a log, as tables.
struct Review {
    /// The keys are nil if only a part of their users was asked about.
    typealias Unused = (keys: [Key]?, rules: [Rule], ofStatus: [StatusPermit])

    private let requests: Requests
    private let unused: Unused?
    private var uses: Table
    private var denials: Table

    /// A row: requests that look the same to the reader of the table.
    private struct Row: Hashable {
        let key: String?
        let user: String
        let unit: String?
    }

    /// A row of the denials. What was asked for is told apart only there.
    private struct Denial: Hashable {
        let row: Row
        let right: String?
    }

    private struct Counts {
        var granted = 0, denied = 0, unavailable = 0, busy = 0
        var lastDenial = "", lastGrant = "", denial: String?
        /// Whether there was such a key at one of these requests, as far as the log tells.
        var isOfAKey = false
        var channels = 0, counted = 0, counts = ChannelCounts()

        /// Channels of which it is not known how often they signed: they are open, or their end has no counts, or it is
        /// not in the log.
        var openOrUnknown: Int { max(channels - counted, 0) }

        mutating func add(_ outcome: Requests.Outcome, isOfChannels: Bool = false) {
            if isOfChannels {
                channels = channels.plus(outcome.granted)
                counted = counted.plus(outcome.channels.counted)
                counts.add(outcome.channels.counts)
            } else {
                granted = granted.plus(outcome.granted)
            }
            denied = denied.plus(outcome.denied)
            unavailable = unavailable.plus(outcome.unavailable)
            busy = busy.plus(outcome.busy)
            lastGrant = max(lastGrant, outcome.lastGrant ?? "")
            if let time = outcome.lastDenial, time >= lastDenial { (lastDenial, denial) = (time, outcome.denial) }
            isOfAKey =
                isOfAKey || outcome.denial != Reason.unknownKey.rawValue
                || [outcome.granted, outcome.unavailable, outcome.busy].contains { $0 > 0 }
                || outcome.channels.counts != ChannelCounts()
        }
    }

    /// - Parameter unused: the keys and rules that nobody used. Nil if there is no policy to compare with.
    init(_ requests: Requests, _ unused: Unused?) {
        (self.requests, self.unused) = (requests, unused)
        let names = Names()
        var rows: [Row: Counts] = [:]
        // Who asked for the status, as a line permitted it.
        var statusRows: [Row: Counts] = [:]
        var refusals: [Denial: Counts] = [:]
        for (question, outcome) in requests.all {
            let ofUnit = question.isForUnit ? question.unit.map { Identity.unitPrefix + $0 } : nil
            let row = Row(
                key: question.key, user: ofUnit ?? names.user(question.uid, logged: outcome.user),
                unit: question.unit)
            rows[row, default: Counts()].add(outcome, isOfChannels: question.asksForSignatures)
            let right = question.asksForSignatures ? Right.sign : question.key.map { _ in Right.key }
            refusals[Denial(row: row, right: right?.rawValue), default: Counts()].add(outcome)
            if question.asksForStatus, outcome.rule != nil { statusRows[row, default: Counts()].add(outcome) }
        }
        // A column says so if some requests were not for a key, but for the status.
        let right = statusRows.isEmpty ? [] : ["right"]
        let ofChannels = requests.hasChannels ? Self.ofChannels : []
        uses = Table(
            columns: ["key", "user", "unit", "granted", "denied", "unavailable", "busy", "last-grant"] + ofChannels
                + right,
            numbers: Set(["granted", "denied", "unavailable", "busy"] + ofChannels))
        let refused = refusals.filter { $0.value.denied > 0 }.sorted {
            let (left, right) = ($0.key.row, $1.key.row)
            return (left.user, left.key ?? "", left.unit ?? "", $0.key.right ?? "")
                < (right.user, right.key ?? "", right.unit ?? "", $1.key.right ?? "")
        }
        let ofSigning = refused.contains { $0.key.right == Right.sign.rawValue }
        denials = Table(
            columns: ["user", "unit", "key", "denied", "last", "reason"] + (ofSigning ? ["right"] : []),
            numbers: ["denied"])
        func local(_ time: String) -> String? { time.isEmpty ? nil : WallTime(rfc3339: time)?.local ?? time }
        func sorted(_ rows: [Row: Counts]) -> [(key: Row, value: Counts)] {
            rows.sorted {
                ($0.key.key ?? "", $0.key.user, $0.key.unit ?? "") < ($1.key.key ?? "", $1.key.user, $1.key.unit ?? "")
            }
        }
        let all = sorted(rows)
        func use(_ row: Row, _ counts: Counts, _ right: [String]) {
            let numbers = [counts.granted, counts.denied, counts.unavailable, counts.busy].map(String.init)
            let ofChannels = [
                String(counts.channels), String(counts.counts.signatures), String(counts.counts.refused),
                String(counts.openOrUnknown),
            ]
            uses.add(
                [row.key, row.user, row.unit] + numbers + [local(counts.lastGrant)]
                    + (requests.hasChannels ? ofChannels : []) + right)
        }
        // Names of nonexistent keys appear only in the table of denials.
        for (row, counts) in all where row.key != nil && counts.isOfAKey { use(row, counts, right.map { _ in "key" }) }
        for (row, counts) in sorted(statusRows) { use(row, counts, ["status"]) }
        for (denial, counts) in refused {
            let (row, numbers) = (denial.row, [String(counts.denied), local(counts.lastDenial), counts.denial])
            denials.add([row.user, row.unit, row.key] + numbers + (ofSigning ? [denial.right] : []))
        }
    }

    /// The columns about signing channels, if the log has any.
    private static let ofChannels = ["channels", "signatures", "refused", "open-or-unknown"]

    /// The results of requests that the log only counts. Nil if it has none.
    private var unnamed: [(name: String, count: Int)]? {
        let results = requests.unnamed.results
        return results.contains { $0.count > 0 } ? results : nil
    }

    /// For programs: one JSON object per line.
    var objects: [String] {
        var lines = uses.objects(kind: "use") + denials.objects(kind: "denial")
        if let unnamed {
            var table = Table(columns: unnamed.map(\.name), numbers: Set(unnamed.map(\.name)))
            table.add(unnamed.map { String($0.count) })
            lines += table.objects(kind: "unnamed")
        }
        if let unused {
            if let keys = unused.keys { lines += Self.table(keys).objects(kind: "unused-key") }
            lines += Self.table(unused.rules, unused.ofStatus).objects(kind: "unused-permit")
        }
        return lines
    }

    /// For people.
    var text: [String] {
        guard let first = requests.first, let last = requests.last else { return ["no records in that period"] }
        func local(_ time: String) -> String { WallTime(rfc3339: time)?.local ?? printable(time) }
        var lines = ["\(counted(requests.count, "request")), records from \(local(first)) to \(local(last))"]
        func add(_ heading: String, _ table: Table, ifEmpty: String) {
            lines += ["", table.isEmpty ? ifEmpty : heading] + (table.isEmpty ? [] : table.lines)
        }
        add("Keys, by who asked for them:", uses, ifEmpty: "Nobody asked for a key.")
        add(
            "Denials, by caller:", denials,
            ifEmpty: requests.unnamed.denied == 0 ? "Nobody was denied." : "Nobody was denied whom the log names.")
        if let unnamed {
            let counts = unnamed.filter { $0.count > 0 }.map { "\($0.count) \($0.name)" }
            lines += [
                "", "Requests that the log only counts, without their callers: \(counts.joined(separator: ", ")).",
            ]
        }
        if let unused {
            if let keys = unused.keys {
                add("Keys that nobody got:", Self.table(keys), ifEmpty: "Every key was used.")
            }
            add(
                "Permissions that nobody used:", Self.table(unused.rules, unused.ofStatus),
                ifEmpty: "Every permission was used.")
        }
        return lines
    }

    private static func table(_ keys: [Key]) -> Table {
        var table = Table(columns: ["key", "file", "line"])
        for key in keys { table.add([key.name.description, key.source.description, key.location.description]) }
        return table
    }

    private static func table(_ rules: [Rule], _ ofStatus: [StatusPermit]) -> Table {
        let right = ofStatus.isEmpty && rules.allSatisfy { $0.right == .key } ? [] : ["right"]
        var table = Table(columns: ["key", "permitted", "unit", "line"] + right)
        for rule in rules {
            table.add(
                [rule.key.description, rule.writtenIdentity, rule.unit?.description, rule.location.description]
                    + right.map { _ in rule.uses?.right ?? Right.key.rawValue })
        }
        for permit in ofStatus {
            table.add([nil, permit.writtenIdentity, nil, permit.location.description, "status"])
        }
        return table
    }
}
