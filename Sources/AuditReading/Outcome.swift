// What came of requests that are alike, and which of their grants never reached anybody.
//
// Must never overflow or count below nothing, whatever numbers a log has; nor tell of a grant that was not
// delivered as if it had been.

internal import Wire

extension Requests {
    /// What came of the requests that are alike. A grant that was not delivered counts as what its correction
    /// says, unavailable or busy.
    package struct Outcome: Sendable {
        package private(set) var granted = 0, denied = 0, unavailable = 0, busy = 0, malformed = 0
        /// How many the policy permitted, whatever came of them then.
        package private(set) var permitted = 0
        /// How many of those were not granted in vain.
        package private(set) var used = 0
        /// The time of the last of them, as the log writes times.
        package private(set) var last = ""
        /// The reason why it was denied last.
        package private(set) var denial: String?
        /// The caller's name, where the policy named it.
        package private(set) var user: String?
        /// SHA-256 of the policy in force; nil where there were several.
        private(set) var policy: [UInt8]?
        private var grants = Grants()

        init(policy: [UInt8]?) { self.policy = policy }

        /// The time of the last grant, as the log writes times.
        package var lastGrant: String? { grants.last?.time }
        /// The line that permitted it last.
        package var rule: String? { grants.last?.rule }

        /// Counts a record, and returns how many requests it adds: none where it corrects one.
        mutating func add(_ record: LoggedRecord, time: String) -> Int {
            let times = record.number(.suppressed).map { Int(clamping: $0) } ?? 1
            last = time
            if user == nil { user = record.text(.user) }
            if let known = policy, !record.says(.policy, known) { policy = nil }
            if record.says(.decision, Self.grantedWord) {
                granted = granted.plus(times)
                permitted = permitted.plus(times)
                used = used.plus(times)
                // What was folded is no grant of a key, and nothing takes it back.
                let number = record[.suppressed] == nil ? record.number(.seq) : nil
                grants.add(number: number, time: time, rule: record.text(.rule))
                return times
            }
            if record.says(.decision, Self.deniedWord) {
                denied = denied.plus(times)
                denial = record.text(.reason)
                return times
            }
            let isBusy = record.says(.decision, Self.busyWord)
            guard isBusy || record.says(.decision, Self.unavailableWord) else {
                malformed = malformed.plus(times)
                return times
            }
            if isBusy { busy = busy.plus(times) } else { unavailable = unavailable.plus(times) }
            guard let corrected = record.undelivered else {
                // What was busy was not decided.
                if !isBusy {
                    permitted = permitted.plus(times)
                    used = used.plus(times)
                }
                return times
            }
            guard grants.remove(corrected) else {
                // The grant is not among these records: it was before them, or there is no such grant.
                permitted = permitted.plus(times)
                return times
            }
            granted = max(granted - 1, 0)
            used = max(used - 1, 0)
            return 0
        }

        private static let grantedWord = Array("granted".utf8), deniedWord = Array("denied".utf8)
        private static let unavailableWord = Array("unavailable".utf8), busyWord = Array("busy".utf8)
    }
}

/// The last grants of one key to one caller.
private struct Grants: Sendable {
    struct Grant: Sendable {
        /// Nil where nothing can take it back.
        let number: UInt64?
        let time: String
        let rule: String?
    }

    private var recent: [Grant] = []
    /// The last of those before `recent`: it was delivered.
    private var settled: Grant?

    var last: Grant? { recent.last ?? settled }

    mutating func add(number: UInt64?, time: String, rule: String?) {
        if recent.count >= 2 * Limits.rememberedGrants {
            settled = recent[Limits.rememberedGrants - 1]
            recent.removeFirst(Limits.rememberedGrants)
        }
        // One text for all that are alike.
        let rule = rule == last?.rule ? last?.rule : rule
        recent.append(Grant(number: number, time: time, rule: rule))
    }

    /// Takes a grant back; false where it is not among those that are remembered.
    mutating func remove(_ number: UInt64) -> Bool {
        guard let index = recent.lastIndex(where: { $0.number == number }) else { return false }
        recent.remove(at: index)
        return true
    }
}

extension LoggedRecord {
    /// The number of the grant that this record says was not delivered, where it is such a record.
    fileprivate var undelivered: UInt64? {
        guard says(.verb, Self.get), self[.suppressed] == nil else { return nil }
        if let number = number(.of) { return number }
        // Logs from before that field have it in words alone.
        guard let words = text(.detail)?.split(separator: " ", maxSplits: 5), words.count == 6,
            words[0] == "decision", words[2...4] == ["was", "not", "delivered:"]
        else { return nil }
        return UInt64(words[1])
    }

    private static let get = Array("get".utf8)
}

extension Int {
    /// The sum, or the largest number where it would be larger: logs can claim any number.
    package func plus(_ other: Int) -> Int {
        let (sum, isOver) = addingReportingOverflow(other)
        return isOver ? .max : sum
    }
}
