// Whether a caller may ask for the status: by a line of the policy, or because of who it is.
//
// Must never answer otherwise than the daemon does, whose own account needs no line, nor does root.

package import Policy

/// The answer of the daemon to a caller that asks for the status.
package enum StatusAnswer: Equatable, Sendable {
    case permitted(StatusPermit)
    /// Root may ask whatever the policy says.
    case root
    /// So may the account that the daemon runs as.
    case ownAccount
    case denied
}

extension Policy {
    /// - Parameter daemon: the uid that the daemon runs as, if it is known.
    package func statusAnswer(for caller: Caller, daemon: UInt32?) -> StatusAnswer {
        if let permit = statusPermit(for: caller) { return .permitted(permit) }
        guard let uid = caller.uid else { return .denied }
        return uid == 0 ? .root : uid == daemon ? .ownAccount : .denied
    }
}
