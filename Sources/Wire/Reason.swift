// The words that give the reason in records and in `U` replies. keybroker-audit(5) explains each. A test compares that
// page with this list.
//
// Must never contain a path, a key or an account, because a `U` reply contains the word.

/// The `reason` of a record.
package enum Reason: String, CaseIterable, Sendable {
    case permitted
    // The caller may not have the key.
    case noRule = "no-rule"
    case unknownKey = "unknown-key"
    case overflowUID = "overflow-uid"
    case notAdministrator = "not-administrator"
    case notServiceManager = "not-service-manager"
    // The caller may have the key, but not now.
    case fileMissing = "file-missing"
    case fileUnreadable = "file-unreadable"
    case fileSlow = "file-slow"
    case fileUntrusted = "file-untrusted"
    case fileSize = "file-size"
    case outsideSandbox = "outside-sandbox"
    case auditUnavailable = "audit-unavailable"
    case notDelivered = "not-delivered"
    case callerEnded = "caller-ended"
    case keyUnusable = "key-unusable"
    case signerUnavailable = "signer-unavailable"
    // A limit was reached.
    case limitConnections = "limit-connections"
    case limitConnectionRate = "limit-connection-rate"
    case limitRequests = "limit-requests"
    case limitTotal = "limit-total-connections"
    case limitUnread = "limit-unread-replies"
    case limitGroups = "limit-groups"
    case limitWatches = "limit-watches"
    case limitChannels = "limit-channels"
    case descriptorsExhausted = "descriptors-exhausted"
    // The packet is not a request.
    case packetEmpty = "packet-empty"
    case packetTooLong = "packet-too-long"
    case packetWithDescriptors = "packet-with-descriptors"
    case unknownVersion = "unknown-version"
    case unknownVerb = "unknown-verb"
    case badKeyName = "bad-key-name"
    case unexpectedRest = "unexpected-rest"
    case replyUnread = "reply-unread"
    case requestWhileWatching = "request-while-watching"
    // Why a signing channel has ended, besides a policy that permits it no more.
    case channelClosed = "channel-closed"
    case permissionChanged = "permission-changed"
    case signerEnded = "signer-ended"
    case brokerStopped = "broker-stopped"
    // What the daemon itself did, or cannot do.
    case folded
    case policyFaulty = "policy-faulty"
}
