// The results of requests that are alike, and which of their grants were not delivered.
//
// Must never overflow or count below zero, whatever numbers a log contains. Must never present a grant as delivered if
// it was not.

internal import Wire

extension Requests {
    /// The results of requests that are alike. A grant that was not delivered counts as what its correction says:
    /// unavailable or busy.
    package struct Outcome: Sendable {
        package private(set) var granted = 0, denied = 0, unavailable = 0, busy = 0, malformed = 0
        /// How many requests the policy permitted, whatever their results were.
        package private(set) var permitted = 0
        /// How many of them remain without the grants that were not delivered.
        package private(set) var used = 0
        /// The time of the last request, in the form of the log.
        package private(set) var last = ""
        /// The time of the last one that the policy permitted.
        package private(set) var lastPermitted: String?
        /// The reason of the last denial.
        package private(set) var denial: String?
        /// The time of the last denial, in the form of the log.
        package private(set) var lastDenial: String?
        /// The caller's name, if the policy named the caller.
        package private(set) var user: String?
        /// SHA-256 of the policy in force, or nil if there were several.
        private(set) var policy: [UInt8]?
        /// Of requests for signing channels: for what they were permitted, and how they were used.
        package private(set) var channels = Channels()
        private var grants = Grants()

        init(policy: [UInt8]?) { self.policy = policy }

        /// How many requests had each result.
        package var results: [(name: String, count: Int)] {
            [
                ("granted", granted), ("denied", denied), ("unavailable", unavailable), ("busy", busy),
                ("malformed", malformed),
            ]
        }

        /// The time of the last delivered grant, in the form of the log.
        package var lastGrant: String? { grants.last?.time }
        /// The line that permitted the last delivered grant.
        package var rule: String? { grants.last?.rule }

        /// Counts the record of a channel's end. It is no request, and takes no grant back.
        /// - Parameter isKnown: whether the grant is among the records that were counted before.
        mutating func addEnd(_ record: LoggedRecord, isKnown: Bool) {
            if user == nil { user = record.text(.user) }
            channels.end(record, isKnown: isKnown)
        }

        /// Counts a record. Returns how many requests it adds: none if it corrects another one.
        mutating func add(_ record: LoggedRecord, time: String) -> Int {
            let times = record.number(.suppressed).map { Int(clamping: $0) } ?? 1
            last = time
            if user == nil { user = record.text(.user) }
            if let known = policy, !record.says(.policy, known) { policy = nil }
            let uses = record.isOfChannel ? record.signingUses : nil
            if record.says(.decision, Self.grantedWord) {
                granted = granted.plus(times)
                permit(times, time)
                used = used.plus(times)
                if let uses { channels.permit(uses, times: times) }
                // A folded event is no grant of a key, so no correction can refer to it.
                let number = record[.suppressed] == nil ? record.number(.seq) : nil
                grants.add(number: number, time: time, rule: record.text(.rule), uses: uses)
                return times
            }
            if record.says(.decision, Self.deniedWord) {
                denied = denied.plus(times)
                denial = record.text(.reason)
                lastDenial = time
                return times
            }
            let isBusy = record.says(.decision, Self.busyWord)
            guard isBusy || record.says(.decision, Self.unavailableWord) else {
                malformed = malformed.plus(times)
                return times
            }
            if isBusy { busy = busy.plus(times) } else { unavailable = unavailable.plus(times) }
            guard let corrected = record.undelivered else {
                // A busy request was not decided, nor was one when no policy was in force.
                if !isBusy, !record.says(.reason, Self.withoutPolicy) {
                    permit(times, time)
                    used = used.plus(times)
                    if let uses { channels.permit(uses, times: times) }
                }
                return times
            }
            guard let grant = grants.remove(corrected) else {
                // The grant is not among these records: it came before them, or it does not exist.
                permit(times, time)
                if let uses { channels.permit(uses, times: times, isUse: false) }
                return times
            }
            granted = max(granted - 1, 0)
            used = max(used - 1, 0)
            if let uses = grant.uses { channels.takeBack(uses) }
            return 0
        }

        private mutating func permit(_ times: Int, _ time: String) {
            permitted = permitted.plus(times)
            lastPermitted = time
        }

        private static let withoutPolicy = Array(Reason.policyFaulty.rawValue.utf8)
        private static let grantedWord = Array("granted".utf8), deniedWord = Array("denied".utf8)
        private static let unavailableWord = Array("unavailable".utf8), busyWord = Array("busy".utf8)
    }
}

/// The most recent grants of one key to one caller.
private struct Grants: Sendable {
    struct Grant: Sendable {
        /// The number of the decision, or nil if no correction can refer to it.
        let number: UInt64?
        let time: String
        let rule: String?
        /// For what a granted channel signs, or nil if it is the key itself.
        let uses: SigningUses?
    }

    private var recent: [Grant] = []
    /// The last grant before `recent`. It counts as delivered.
    private var settled: Grant?

    var last: Grant? { recent.last ?? settled }

    mutating func add(number: UInt64?, time: String, rule: String?, uses: SigningUses?) {
        if recent.count >= 2 * Limits.rememberedGrants {
            settled = recent[Limits.rememberedGrants - 1]
            recent.removeFirst(Limits.rememberedGrants)
        }
        // Equal texts share one copy, to save memory.
        let rule = rule == last?.rule ? last?.rule : rule
        recent.append(Grant(number: number, time: time, rule: rule, uses: uses))
    }

    /// Removes a grant, and returns it. Nil if it is not among the remembered ones.
    mutating func remove(_ number: UInt64) -> Grant? {
        recent.lastIndex { $0.number == number }.map { recent.remove(at: $0) }
    }
}

extension LoggedRecord {
    /// If this record says that a grant was not delivered: the number of that grant. Otherwise nil.
    fileprivate var undelivered: UInt64? {
        guard self[.suppressed] == nil else { return nil }
        if let number = number(.of) { return number }
        // Older logs do not have that field and say it only in words.
        guard says(.verb, Self.get), let words = text(.detail)?.split(separator: " ", maxSplits: 5), words.count == 6,
            words[0] == "decision", words[2...4] == ["was", "not", "delivered:"]
        else { return nil }
        return UInt64(words[1])
    }

    private static let get = Array("get".utf8)
}

extension Int {
    /// The sum, or the largest number if the sum would overflow: a log can contain any number.
    package func plus(_ other: Int) -> Int {
        let (sum, isOver) = addingReportingOverflow(other)
        return isOver ? .max : sum
    }
}
