// Counts connections that were closed without a reply until the log has their number.
//
// Nobody is told anything of them, so they are not withdrawn if the log cannot be written: they are owed to it. Must never
// grow with the number of callers that no line of the policy names.

internal import Audit
internal import Wire

struct Surplus {
    /// The counts of this turn, and those that could not be written before.
    private var staged: [Folding.Subject: Int] = [:], owed: [Folding.Subject: Int] = [:]

    var isOwed: Bool { !owed.isEmpty }

    /// Notes connections whose record is staged in this turn.
    /// - Parameter crowd: the crowd of the caller, or nil if it is counted alone.
    mutating func note(_ subject: Folding.Subject, in crowd: Folding.Crowd?, times: Int) {
        staged[crowd.map { .crowd($0) } ?? subject, default: 0] += times
    }

    /// Returns what is owed, to be staged in this turn.
    mutating func takeOwed() -> [(subject: Folding.Subject, times: Int)] {
        defer { owed.removeAll() }
        for (subject, times) in owed { staged[subject, default: 0] += times }
        return owed.map { ($0, $1) }
    }

    /// The records of this turn are in the log.
    mutating func commit() { staged.removeAll(keepingCapacity: true) }

    /// The records of this turn could not be written.
    mutating func undo() {
        owed.merge(staged, uniquingKeysWith: +)
        commit()
    }
}

extension Record {
    /// Says that connections got no reply.
    init(surplusOf subject: Folding.Subject, policy digest: String?) {
        self.init(.limit)
        decision = .busy
        reason = .limitConnectionRate
        policy = digest
        let who: String
        switch subject {
        case .uid(let uid):
            self.uid = uid
            who = "uid \(uid) connects"
        case .callers(let unit), .unit(let unit):
            // They may have been of many uids.
            self.unit = unit
            who = "those in \(unit) connect"
        case .crowd(let crowd): who = "\(crowd.words) connect"
        case .otherUnits: who = "callers connect"
        }
        detail = "\(who) too often; such connections get no reply, and are counted"
    }
}
