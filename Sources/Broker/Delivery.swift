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

    /// A reply with descriptors was sent: until it is read they are in flight, and count against the daemon.
    package func noteUnread(_ client: Client) { allowance.addUnread(of: client.uid) }

    /// It was read, or nobody can read it any more.
    package func noteRead(_ client: Client) { allowance.removeUnread(of: client.uid) }

    /// Whether the client's uid leaves as much unread as it may: then it is worth looking whether that is still so.
    package func isAtUnreadBound(_ client: Client) -> Bool {
        allowance.unread(of: client.uid) >= capacity.unreadPerUser
    }

    /// A grant could not be sent: a correction is staged, and a client that is still there gets what is returned.
    package func undelivered(_ answer: Answer, _ failure: Failure) -> Answer? {
        guard case .granted(let decision) = answer.reply, var record = answer.granted else { return nil }
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
