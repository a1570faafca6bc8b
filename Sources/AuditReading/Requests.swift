// Who asked for which key, how often, and what came of it: the log, put together.
//
// Must never grow with the number of requests, only with who asked for what; nor without end with names of
// keys that there are not.

internal import Kernel
package import Policy
internal import Wire

/// All requests of a log that are alike, as one.
package struct Requests {
    /// Who asked for what.
    package struct Question: Sendable {
        /// Nil where it was no key: a list, the version, what was folded or malformed.
        package let key: String?
        /// What else was asked.
        package let verb: String?
        package let uid: UInt32
        package let gid: UInt32?
        package let groups: [UInt32]
        package let unit: String?
    }

    /// What came of it.
    package struct Outcome: Sendable {
        package fileprivate(set) var granted = 0, denied = 0, unavailable = 0, busy = 0, malformed = 0
        /// The last of them, and the last grant, as the log writes times.
        package fileprivate(set) var last = "", lastGrant: String?
        /// The line that permitted it last; the reason why it was denied last.
        package fileprivate(set) var rule: String?, denial: String?
        /// The caller's name, where the policy named it.
        package fileprivate(set) var user: String?
    }

    private var places: [[UInt8]: Int] = [:]
    private var questions: [Question] = []
    private var outcomes: [Outcome] = []
    private var unknownKeys = 0
    /// How many requests there were, and the times of the first and the last record.
    package private(set) var count = 0
    package private(set) var first: String?, last: String?
    // Kept for its memory.
    private var identity: [UInt8] = []

    package init() {}

    /// In no order that means anything.
    package var all: [(question: Question, outcome: Outcome)] { Array(zip(questions, outcomes)) }

    /// Counts a record, where it is of a request.
    package mutating func add(_ record: LoggedRecord) {
        let time = record.text(.time) ?? ""
        if first == nil { first = time }
        last = time
        guard let decision = record[.decision], let uid = record[.uid], !record.says(.event, Self.reload) else {
            return
        }
        guard let place = place(of: record, uid) else { return }
        let times = record.number(.suppressed).map { Int(clamping: $0) } ?? 1
        count += times
        outcomes[place].last = time
        switch decision {
        case Self.granted:
            outcomes[place].granted += times
            outcomes[place].lastGrant = time
            if let rule = record.text(.rule) { outcomes[place].rule = rule }
        case Self.denied:
            outcomes[place].denied += times
            outcomes[place].denial = record.text(.reason)
        case Self.unavailable: outcomes[place].unavailable += times
        case Self.busy: outcomes[place].busy += times
        default: outcomes[place].malformed += times
        }
        if outcomes[place].user == nil { outcomes[place].user = record.text(.user) }
    }

    /// Where the question is that the record is about; nil where there is no sense in it.
    private mutating func place(of record: LoggedRecord, _ uid: ArraySlice<UInt8>) -> Int? {
        identity.removeAll(keepingCapacity: true)
        for field in [LoggedRecord.Field.verb, .uid, .gid, .groups, .unit] {
            if let value = record[field] { identity.append(contentsOf: value) }
            identity.append(0)
        }
        let lengthWithoutKey = identity.count
        if let key = record[.key] { identity.append(contentsOf: key) }
        if let known = places[identity] { return known }
        var namesKey = true
        if record.says(.reason, Self.unknownKey) {
            unknownKeys += 1
            if unknownKeys > Limits.unknownKeys {
                namesKey = false
                identity.removeSubrange(lengthWithoutKey...)
                if let known = places[identity] { return known }
            }
        }
        guard let number = record.number(.uid), let uid = UInt32(exactly: number) else { return nil }
        places[identity] = questions.count
        questions.append(
            Question(
                key: namesKey ? record.text(.key) : nil, verb: record.text(.verb), uid: uid,
                gid: record.number(.gid).flatMap { UInt32(exactly: $0) }, groups: record.numbers(.groups),
                unit: record.text(.unit)))
        outcomes.append(Outcome())
        return questions.count - 1
    }

    private static let reload = Array("reload".utf8), unknownKey = Array("unknown-key".utf8)
    private static let granted = Array("\"granted\"".utf8)[...], denied = Array("\"denied\"".utf8)[...]
    private static let unavailable = Array("\"unavailable\"".utf8)[...], busy = Array("\"busy\"".utf8)[...]
}

extension Requests.Question {
    /// Who it was, as the broker would see that caller: nil where the log does not say enough.
    package func caller(unmapped: (uid: UInt32, gid: UInt32)) -> Caller? {
        gid.map { Caller(uid: uid, gid: $0, groups: groups, unit: unit, unmapped: unmapped) }
    }
}
