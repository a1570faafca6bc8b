// An answer on its way: decided, perhaps with open files, not yet sent.
//
// Must never be sent before its record is in the log.

internal import Audit
package import Kernel
internal import Policy
package import Wire

/// What a client is told, and given. A class, as it owns descriptors and waits in a list.
package final class Answer {
    package private(set) var reply: Reply
    /// What goes with it: the key, and the certificate where there is one.
    package private(set) var key: Descriptor?
    package private(set) var certificate: Descriptor?
    /// The names that are still to be sent, in packets of their own, where the reply is a list.
    package private(set) var names: ArraySlice<KeyName>
    /// The connection ends with it.
    package let isLast: Bool
    /// What the record says of a grant, and whose it is; for one that says that it did not arrive.
    let granted: Record?
    private let account: UserAccount?

    init(_ reply: Reply, names: [KeyName] = [], isLast: Bool = false) {
        self.reply = reply
        self.names = names[...]
        self.isLast = isLast
        granted = nil
        account = nil
    }

    /// From here on it counts as unread.
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

    /// It shows that the connection is used for what it is for, and not only kept.
    package var isUse: Bool {
        if case .status = reply { return true }
        return carriesDescriptors
    }

    /// It can no longer be read.
    func noteUndelivered() { account?.unread -= 1 }

    /// Its record could not be written: it grants nothing and tells nothing, to nobody; but an administrator
    /// is told just that.
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
