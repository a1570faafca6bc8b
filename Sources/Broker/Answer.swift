// An answer that is decided but not yet sent. It may hold open files.
//
// Must never be sent before its record is in the log.

internal import Audit
package import Kernel
internal import Policy
package import Wire

/// What a client is told and given. It is a class because it owns file descriptors and waits in a list.
package final class Answer {
    package private(set) var reply: Reply
    /// The file descriptors that go with the reply: the key, and its certificate if the policy names one.
    package private(set) var key: Descriptor?
    package private(set) var certificate: Descriptor?
    /// If the reply is a list: the names that are still to be sent, in packets of their own.
    package private(set) var names: ArraySlice<KeyName>
    /// True if the connection ends with this answer.
    package let isLast: Bool
    /// The record of a grant, kept for a correction if the grant does not arrive.
    let granted: Record?
    private let account: UserAccount?

    init(_ reply: Reply, names: [KeyName] = [], isLast: Bool = false) {
        self.reply = reply
        self.names = names[...]
        self.isLast = isLast
        granted = nil
        account = nil
    }

    /// An answer that grants a key. From here on it counts as an unread reply of the account.
    init(granted decision: UInt64, _ files: consuming HandOut, record: Record, of account: UserAccount) {
        self.account = account
        account.unread += 1
        reply = .granted(decision: decision)
        names = []
        isLast = false
        granted = record
        switch files.certificate.take() {
        case .some(let file): certificate = file.intoDescriptor()
        case .none: certificate = nil
        }
        key = files.key.intoDescriptor()
    }

    package var carriesDescriptors: Bool {
        switch key {
        case .some: true
        case .none: false
        }
    }

    /// True if the answer shows that the connection serves its purpose and is not merely kept open.
    package var isUse: Bool {
        if case .status = reply { return true }
        return carriesDescriptors
    }

    /// Stops counting the answer as unread: it was not delivered.
    func noteUndelivered() { account?.unread -= 1 }

    /// Takes the answer back because its record could not be written. Nobody is granted or told anything then. An
    /// administrator who asked for the status is still told, because the status says that the log is failing.
    func withdraw() {
        if case .status = reply { return }
        if carriesDescriptors { noteUndelivered() }
        key = nil
        certificate = nil
        names = []
        if case .malformed(_, let reason) = reply {
            reply = .malformed(decision: 0, reason: reason)
        } else {
            reply = .unavailable(decision: 0, reason: Reason.auditUnavailable.rawValue)
        }
    }
}
