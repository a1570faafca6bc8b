// From decisions to the audit log: numbers, folding, the commit of a turn, and what holds when the log
// cannot be written.
//
// Must never let an answer go out whose record is not in the log, nor fold a grant.

internal import Audit
package import Kernel
internal import Policy
internal import PolicyLoading
internal import Wire

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
        return log.stage(record)
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

    /// How a commit went, where that is to be said.
    package enum Committed {
        case asEver
        case failed(Failure)
        case recovered(withdrawn: Int)
    }

    /// Puts the records of a turn into the log; where that fails, withdraws the answers of that turn.
    package func commit(_ answers: [Answer]) -> Committed {
        guard log.hasStaged else {
            tally.commit()
            return .asEver
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
            try log.commit()
            tally.commit()
            guard let ended = outage else { return .asEver }
            outage = nil
            return .recovered(withdrawn: ended.withdrawn)
        } catch {
            for answer in answers { answer.withdraw() }
            tally.withdraw()
            allowance.forgetWindows()
            let isNew = outage == nil
            outage = Outage(
                since: outage?.since ?? .now, failure: error, withdrawn: (outage?.withdrawn ?? 0) + answers.count)
            return isNew ? .failed(error) : .asEver
        }
    }
}
