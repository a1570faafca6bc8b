// An answer that is decided but not yet sent. It may hold open files.
//
// Must never be sent before its record is in the log.

internal import Audit
package import Kernel
package import Keys
internal import Policy
package import Wire

/// What comes of a request.
package enum Decided {
    case answer(Answer)
    /// The answer is known when the signer has said whether the channel is open.
    case later(Channel)

    /// The answer if it is known.
    package var known: Answer? {
        if case .answer(let answer) = self { answer } else { nil }
    }
}

/// Counts a reply with file descriptors against the limit of a uid, until it was read or nobody can read it any more. The
/// kernel counts the descriptors against the daemon until then.
package struct UnreadReply: ~Copyable {
    private let account: UserAccount

    init(of account: UserAccount) {
        self.account = account
        account.unread += 1
    }

    deinit { account.unread -= 1 }
}

/// What a client is told and given. It is a class because it owns file descriptors and waits in a list.
package final class Answer {
    package private(set) var reply: Reply
    /// The file descriptors that go with the reply: the key, or the end of a channel; and the certificate if the policy
    /// names one.
    package private(set) var key: Descriptor?
    package private(set) var certificate: Descriptor?
    /// The same, if the process that opens keys has them.
    package private(set) var held: HeldFiles?
    /// If the reply is a list: the names that are still to be sent, in packets of their own.
    package private(set) var names: ArraySlice<KeyName>
    /// True if the connection ends with this answer.
    package let isLast: Bool
    /// The watch that the answer belongs to.
    package private(set) var watch: Watch?
    /// The signing channel that the answer grants.
    private(set) var channel: Channel?
    /// The record of a grant, kept for a correction if the grant does not arrive.
    let granted: Recorded?
    private var unread: UnreadReply?

    init(_ reply: Reply, names: [KeyName] = [], isLast: Bool = false, isUse: Bool = false) {
        isQueryInUse = isUse
        self.reply = reply
        self.names = names[...]
        self.isLast = isLast
        granted = nil
    }

    /// An answer that grants a key.
    /// - Parameter unread: what counts the answer against a limit until it is read.
    init(
        granted recorded: Recorded, _ files: consuming HandOut, _ unread: consuming UnreadReply?, watch: Watch?
    ) {
        isQueryInUse = false
        self.unread = unread
        self.watch = watch
        reply =
            watch.map { .rotated(decision: recorded.number, generation: $0.key.generation) }
            ?? .granted(decision: recorded.number)
        names = []
        isLast = false
        granted = recorded
        held = files.held
        certificate = files.takeCertificate()
        key = files.takeKey()
    }

    /// An answer that grants a signing channel.
    init(granted recorded: Recorded, _ channel: Channel) {
        isQueryInUse = false
        self.channel = channel
        reply = .granted(decision: recorded.number)
        names = []
        isLast = false
        granted = recorded
        unread = channel.takeUnread()
        certificate = channel.takeCertificate()
        key = channel.takeEnd()
    }

    package var carriesDescriptors: Bool {
        switch key {
        case .some: true
        case .none: held != nil
        }
    }

    /// True if the answer shows that the connection serves its purpose and is not merely kept open.
    package var isUse: Bool { isQueryInUse || carriesDescriptors }
    /// An administrator's query. Nobody else keeps a connection by asking for no key.
    private let isQueryInUse: Bool

    /// True if the connection waits for a rotation and the answer contains none, because its record could not be
    /// written. The connection must not be told that.
    package var isEmptyRenewal: Bool {
        if case .unavailable = reply { return watch?.hasBegun == true }
        return false
    }

    /// Takes out what counts the answer as unread, for the connection that it was sent on. If nobody keeps it, the
    /// answer no longer counts.
    package func takeUnread() -> UnreadReply? { unread.take() }

    /// Takes the answer back because its record could not be written. Nobody is granted or told anything then. Who asked
    /// for the status and may have it is still told, because the status says that the log is failing.
    func withdraw() {
        if case .status = reply { return }
        unread = nil
        channel?.giveUp()
        key = nil
        certificate = nil
        held = nil
        names = []
        switch reply {
        case .malformed(_, let reason): reply = .malformed(decision: 0, reason: reason)
        // The permission has ended, whether that is recorded or not.
        case .watchEnded(_, let reason): reply = .watchEnded(decision: 0, reason: reason)
        default: reply = .unavailable(decision: 0, reason: Reason.auditUnavailable.rawValue)
        }
    }
}
