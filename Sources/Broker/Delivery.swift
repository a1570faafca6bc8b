// From decisions to replies: the commit of a turn, and what became of a grant on its way.
//
// Must never say that a key was had by somebody who did not get it.

internal import Audit
package import Kernel
internal import Policy
internal import PolicyLoading
internal import Wire

extension Broker {
    /// Puts the records of a turn into the log; where that fails, withdraws the answers of that turn.
    package func commit(_ answers: [Answer]) -> Committed { ledger.commit(answers) }

    /// The answers of a turn are sent.
    package func count() { ledger.count() }

    /// A reply with descriptors was read, or nobody can read it any more: until then they are in flight, and count
    /// against the daemon.
    package func noteRead(_ client: Client) { client.account.unread -= 1 }

    /// Whether the client's uid leaves as much unread as it may, and it was not just looked whether that is still so.
    package func isWorthLooking(at client: Client, now: Instant) -> Bool {
        let account = client.account
        guard account.unread >= capacity.unreadPerUser, account.lookedAt.after(Limits.firstLook) <= now else {
            return false
        }
        account.lookedAt = now
        return true
    }

    /// A grant could not be sent: a correction is staged, and a client that is still there gets what is returned.
    package func undelivered(_ answer: Answer, to client: Client, _ failure: Failure) -> Answer? {
        guard case .granted(let decision) = answer.reply, var record = answer.granted else { return nil }
        answer.noteUndelivered()
        // It is a record more, and so counts as a request more.
        client.account.charge(1, perSecond: client.rate, now: .now)
        record.decision = failure.isShortage ? .busy : .unavailable
        record.reason = .notDelivered
        record.detail = "decision \(decision) was not delivered: \(failure)"
        record.of = decision
        record.file = nil
        record.certificate = nil
        let number = ledger.stage(record, of: record.key.flatMap(KeyName.init))
        return failure.isShortage
            ? Answer(.busy(decision: number, milliseconds: Limits.busy.wholeMilliseconds)) : nil
    }
}
