// The commit of a turn, and what to do if a grant could not be delivered.
//
// Must never say that a caller has received a key if it has not.

internal import Audit
package import Kernel
internal import Policy
internal import PolicyLoading
internal import Wire

extension Broker {
    /// Writes the records of a turn to the log. If that fails, it withdraws the answers of the turn.
    package func commit(_ answers: some Collection<Answer>) -> Committed { ledger.commit(answers) }

    /// Updates the counts after the answers of a turn were sent.
    package func count() { ledger.count() }

    /// Whether to ask the kernel if the client has read its replies: its uid has reached the limit of unread replies,
    /// and the last check is not too recent.
    package func isWorthLooking(at client: Client, now: Instant) -> Bool {
        let account = client.account
        guard account.unread >= capacity.unreadPerUser, account.lookedAt.after(Limits.firstLook) <= now else {
            return false
        }
        account.lookedAt = now
        return true
    }

    /// Stages a correction for a grant that could not be sent. Returns the reply for a client that is still connected.
    package func undelivered(_ answer: Answer, to client: Client, _ failure: Failure) -> Answer? {
        guard var record = answer.granted?.record, let decision = answer.reply.decision, decision > 0 else {
            return nil
        }
        _ = answer.takeUnread()
        answer.channel?.giveUp()
        // The correction is an additional record, so it counts as an additional request.
        client.account.charge(1, perSecond: client.rate, now: .now)
        record.decision = failure.isShortage ? .busy : .unavailable
        record.reason = .notDelivered
        record.detail = "decision \(decision) was not delivered: \(failure)"
        record.of = decision
        record.file = nil
        record.certificate = nil
        record.generation = nil
        let number = ledger.stage(record, of: record.key.flatMap(KeyName.init))
        return failure.isShortage
            ? Answer(.busy(decision: number, milliseconds: Limits.busy.wholeMilliseconds)) : nil
    }
}
