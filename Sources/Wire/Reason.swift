// The words that say why, in records and in `U` replies. keybroker-audit(5) explains each, and a test holds it to this
// list.
//
// Must never name a path, a key or an account: a `U` reply carries the word.

/// The `reason` of a record.
package enum Reason: String, CaseIterable, Sendable {
    case permitted
    // A key that the caller may not have.
    case noRule = "no-rule"
    case unknownKey = "unknown-key"
    case notAdministrator = "not-administrator"
    // A key that it may have, but not now.
    case fileMissing = "file-missing"
    case fileUnreadable = "file-unreadable"
    case fileUntrusted = "file-untrusted"
    case outsideSandbox = "outside-sandbox"
    case auditUnavailable = "audit-unavailable"
    case notDelivered = "not-delivered"
    // A limit.
    case limitConnections = "limit-connections"
    case limitRequests = "limit-requests"
    case limitTotal = "limit-total-connections"
    case limitUnread = "limit-unread-replies"
    case limitGroups = "limit-groups"
    case descriptorsExhausted = "descriptors-exhausted"
    // No request.
    case packetEmpty = "packet-empty"
    case packetTooLong = "packet-too-long"
    case packetWithDescriptors = "packet-with-descriptors"
    case unknownVersion = "unknown-version"
    case unknownVerb = "unknown-verb"
    case badKeyName = "bad-key-name"
    case unexpectedRest = "unexpected-rest"
    case replyUnread = "reply-unread"
    // The daemon's own.
    case folded
    case policyFaulty = "policy-faulty"
}
