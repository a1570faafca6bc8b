// Who may hold a connection, and what becomes of a grant that found nobody to take it.
//
// Must never open anything, nor count a connection that it did not let in.

internal import Audit
package import Kernel
internal import Policy
internal import PolicyLoading
internal import Wire

/// Whether a caller may stay.
package enum Admission {
    case admitted(Client)
    /// It finds no room, and is told so.
    case turnedAway(Client, Answer)
}

extension Broker {
    /// A caller that may stay, or the answer that it may not. `total`: how many connections there are.
    package func admit(_ peer: Peer, total: Int, most: Int) -> Admission {
        let client = Client(peer: peer, caller: caller(peer))
        let bounds = policy.policy.bounds(for: client.caller)
        let isRoom = total < most
        if isRoom, allowance.admitConnection(of: peer.uid, atMost: bounds.connections) { return .admitted(client) }
        let reason = isRoom ? Reason.limitConnections : Reason.limitTotal
        let answer = busy(
            reason, milliseconds: Limits.busyMilliseconds, Record(.limit), client, isLast: true)
        return .turnedAway(client, answer)
    }

    /// A connection was ended that `admit` let in.
    package func dismiss(_ client: Client) { allowance.endConnection(of: client.peer.uid) }

    /// A grant could not be sent: the log says so, and the client, where it is there, gets what is returned.
    package func undelivered(_ answer: Answer, to client: Client, _ failure: Failure) -> Answer? {
        guard case .granted(let decision) = answer.reply, var record = answer.record else { return nil }
        record.reason = Reason.notDelivered
        record.detail = "decision \(decision) was not delivered: \(failure)"
        record.file = nil
        record.certificate = nil
        guard failure.isShortage else {
            record.decision = .unavailable
            _ = stage(record, client)
            return nil
        }
        return busy(Reason.descriptorsExhausted, milliseconds: Limits.busyMilliseconds, record, client)
    }

    private func caller(_ peer: Peer) -> Caller {
        Caller(
            uid: peer.uid, gid: peer.gid, groups: peer.groups, unit: peer.unit,
            unmapped: (overflow.uid, overflow.gid))
    }
}
