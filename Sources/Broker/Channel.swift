// One signing channel: who asked for it, what it may sign, and whether it is open.
//
// Must never hold the file of a key: that is the signer's, which closes it when it has read it.

internal import Audit
internal import Kernel
internal import Keys
internal import Wire

/// What a channel may be used for. If a new policy says something else, the channel ends.
struct ChannelTerms: Equatable {
    let uses: SigningUses
    /// Signatures per second. Nil if there is no limit.
    let rate: Int?
}

/// A channel that was asked for. While it exists, it counts against the limit of its uid or unit.
package final class Channel {
    /// What came of the question to the signer.
    enum Result {
        case opened
        /// The signer cannot use the key. The text says why.
        case unusable(String)
        /// There is no channel, but there may be one if the caller asks again. The text says why.
        case lost(String)
    }

    let number: UInt64
    let client: Client
    let terms: ChannelTerms
    /// The key, and the content of it that the channel signs with.
    let key: WatchedKey
    let content: Content
    /// How many rotations of the key were seen before that content.
    var generation: UInt64
    /// The connection that waits for the channel. Nil if none does any more.
    package var connection: UInt64?

    // Until the caller is answered.

    /// The record, as far as it is known, and the files that it names if the channel is granted.
    let request: Record
    let file: HandedOver, certificateFile: HandedOver?
    /// What the caller is given: its end of the channel, and the certificate of the key.
    private var end: Descriptor?, certificate: Descriptor?
    private var unread: UnreadReply?
    /// When the caller is told that the signer does not answer.
    let until = Instant.now.after(Limits.channelOpening)
    var result: Result?

    // From then on.

    /// The record of the grant. Nil if the caller has no channel.
    var grant: Recorded?
    /// Why the broker ends it. Nil if it does not.
    var endReason: Reason?

    /// - Parameter end: the caller's end.
    init(
        _ number: UInt64, _ client: Client, _ key: WatchedKey, _ terms: ChannelTerms, _ request: Record,
        _ files: consuming HandOut, end: consuming Descriptor
    ) {
        (self.number, self.client, self.terms, self.request) = (number, client, terms, request)
        (self.key, content, generation) = (key, Content(of: files), key.generation)
        file = HandedOver(path: files.key.path, status: files.key.status)
        certificateFile = files.certificateHandedOver
        self.end = .some(consume end)
        certificate = files.takeCertificate()
        unread = UnreadReply(of: client.account)
        client.account.channels += 1
    }

    deinit { client.account.channels -= 1 }

    func takeEnd() -> Descriptor? { end.take() }
    func takeCertificate() -> Descriptor? { certificate.take() }
    func takeUnread() -> UnreadReply? { unread.take() }

    /// Closes what the caller would have been given. It gets nothing any more.
    func giveUp() {
        end = nil
        certificate = nil
        unread = nil
        grant = nil
    }
}
