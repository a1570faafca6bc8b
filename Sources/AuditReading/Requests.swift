// Summarizes a log: who asked for which key, how often, and with which results.
//
// Its memory must never grow with the number of requests, but only with the number of different questions. Must never
// grow without bound by names of keys that do not exist.

internal import Kernel
package import Policy
internal import Wire

/// The requests of a log. Requests that are alike are counted together.
package struct Requests {
    /// Who asked for what.
    package struct Question: Sendable {
        /// Nil if it was no request for a key: a list, the version, a folded or a malformed request.
        package let key: String?
        /// The verb, if the request was not for a key.
        package let verb: String?
        package let uid: UInt32
        package let gid: UInt32?
        package let groups: [UInt32]
        /// True if the caller had more groups than the log names.
        package let hasOtherGroups: Bool
        package let unit: String?
    }

    private var places: [[UInt8]: Int] = [:]
    private var questions: [Question] = []
    private var outcomes: [Outcome] = []
    private var unknownKeys = 0
    /// The number of requests, and the times of the first and the last record.
    package private(set) var count = 0
    package private(set) var first: String?, last: String?
    /// Requests that the log only counts, without saying whose they were.
    package private(set) var unnamed = Outcome(policy: nil)
    /// Whether a record is about a signing channel.
    package private(set) var hasChannels = false
    private var firstNumber: UInt64?
    // It is kept so that its memory is reused.
    private var identity: [UInt8] = []

    package init() {}

    /// All questions with their results, in no particular order.
    package var all: [(question: Question, outcome: Outcome)] { Array(zip(questions, outcomes)) }

    /// Counts a record if it is about a request.
    package mutating func add(_ record: LoggedRecord) {
        let time = record.text(.time) ?? ""
        if first == nil { first = time }
        last = time
        if firstNumber == nil { firstNumber = record.number(.seq) }
        guard let uid = record[.uid] else {
            if record[.suppressed] != nil, record[.decision] != nil {
                count = count.plus(unnamed.add(record, time: time))
            }
            return
        }
        if record.endsChannel {
            guard record.isOfChannel, let place = place(of: record, uid) else { return }
            // All records of a caller and a key from the first one on were counted.
            let isKnown = record.number(.of).map { $0 >= firstNumber ?? 0 } ?? false
            outcomes[place].addEnd(record, isKnown: isKnown)
            hasChannels = true
            return
        }
        guard record[.decision] != nil, !record.says(.event, Self.reload) else { return }
        guard let place = place(of: record, uid) else { return }
        if record.isOfChannel { hasChannels = true }
        count = count.plus(outcomes[place].add(record, time: time))
    }

    /// The index of the question that the record is about, or nil if the record does not make sense.
    private mutating func place(of record: LoggedRecord, _ uid: ArraySlice<UInt8>) -> Int? {
        identity.removeAll(keepingCapacity: true)
        for field in [LoggedRecord.Field.verb, .uid, .gid, .groups, .otherGroups, .unit] {
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
                hasOtherGroups: record.number(.otherGroups) ?? 0 > 0, unit: record.text(.unit)))
        outcomes.append(Outcome(policy: record.bytes(.policy).map { Array($0) }))
        return questions.count - 1
    }

    private static let reload = Array("reload".utf8), unknownKey = Array("unknown-key".utf8)
}

extension Requests.Question {
    /// The caller as the broker would see it, or nil if the log does not say enough.
    /// - Parameter others: groups to assume in addition to those that the log names.
    package func caller(with others: [UInt32] = [], unmapped: (uid: UInt32, gid: UInt32)) -> Caller? {
        if isForUnit { return unit.map(Caller.init(unitAlone:)) }
        return gid.map { Caller(uid: uid, gid: $0, groups: groups + others, unit: unit, unmapped: unmapped) }
    }
}
