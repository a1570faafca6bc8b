// From decisions to the audit log: numbers, folding, the commit of a turn, and what holds when the log
// cannot be written.
//
// Must never let an answer go out whose record is not in the log, nor fold a grant.

package import Audit
package import Kernel
internal import Policy
internal import PolicyLoading
internal import Wire

/// A record that has its number: it counts once it is in the log.
package struct Recorded: Sendable {
    package let number: UInt64
    package let record: Record
}

/// A time in which the log could not be written.
struct Outage {
    let since: WallTime
    let failure: Failure
    /// How many answers were withdrawn.
    var withdrawn: Int
}

extension Broker {
    func stage(_ record: Record, _ client: Client?) -> UInt64 {
        var record = record
        record.policy = policy.digest
        if let client {
            record.peer = client.peer
            record.user = policy.policy.userNames[client.peer.uid]
            note(record)
        }
        let number = log.stage(record)
        staged.append(Recorded(number: number, record: record))
        return number
    }

    /// Puts what was staged into the log. Returns it, but for the folded: nobody asked for those.
    func commitStaged() throws(Failure) -> [Recorded] {
        defer { staged = [] }
        try log.commit()
        return staged
    }

    /// Counts an event, once the turn is committed. Of keys only those that there are, so that nobody can
    /// make the daemon remember names.
    private func note(_ record: Record) {
        let key = record.key.flatMap(KeyName.init).flatMap { policy.policy.keys[$0] == nil ? nil : $0 }
        tally.note(record, key)
    }

    /// The number that a refusal or a query is known under: its own record's, or, where one caller makes
    /// many, that of the last like it. Why it was refused makes no difference to that.
    func number(of record: Record, _ client: Client) -> UInt64 {
        let (uid, now) = (client.peer.uid, Instant.now)
        let kind: Allowance.Kind =
            if record.decision == .granted, let verb = record.verb { .query(verb) } else {
                .refusal(record.decision ?? .denied)
            }
        if let number = allowance.numberToFoldInto(kind, of: uid, now: now) {
            note(record)
            return number
        }
        let number = stage(record, client)
        allowance.noteRecord(kind, of: uid, number: number, now: now)
        return number
    }

    /// When `settle` has something to do.
    package var nextSettling: Instant? { allowance.nextSettling }

    /// Stages a record for what was counted instead of recorded.
    package func settle(all: Bool = false) {
        for (uid, kind, suppressed) in allowance.settle(now: .now, all: all) {
            var record = Record(.request)
            record.reason = Reason.folded
            record.suppressed = suppressed
            switch kind {
            case .refusal(let decision): record.decision = decision
            case .query(let verb): (record.verb, record.decision) = (verb, .granted)
            }
            record.detail = "as many more from uid \(uid) within the second before"
            record.policy = policy.digest
            record.uid = uid
            _ = log.stage(record)
        }
    }

    /// How a commit went.
    package enum Committed {
        /// What is in the log now, but for the folded.
        case asEver([Recorded])
        case failed(Failure)
        case recovered([Recorded], withdrawn: Int)
        /// As the commit before, which said so.
        case failedAgain
    }

    /// Puts the records of a turn into the log; where that fails, withdraws the answers of that turn.
    package func commit(_ answers: [Answer]) -> Committed {
        guard log.hasStaged else {
            tally.commit()
            return .asEver([])
        }
        if let outage {
            var record = Record(.limit)
            record.decision = .unavailable
            record.reason = Reason.auditUnavailable
            record.detail = "since \(outage.since.rfc3339) the log could not be written: \(outage.failure)"
            record.suppressed = outage.withdrawn
            _ = stage(record, nil)
        }
        do throws(Failure) {
            let recorded = try commitStaged()
            tally.commit()
            guard let ended = outage else { return .asEver(recorded) }
            outage = nil
            return .recovered(recorded, withdrawn: ended.withdrawn)
        } catch {
            for answer in answers { answer.withdraw() }
            tally.withdraw()
            allowance.forgetWindows()
            let isNew = outage == nil
            outage = Outage(
                since: outage?.since ?? .now, failure: error, withdrawn: (outage?.withdrawn ?? 0) + answers.count)
            return isNew ? .failed(error) : .failedAgain
        }
    }
}
