// The words that say why, in records and in replies. keybroker-audit(5) explains each.

internal import Kernel

/// The `reason` of a record; also the text of a `U` reply, as none of them names a path.
enum Reason {
    static let permitted = "permitted"
    static let fileMissing = "file-missing"
    static let fileUnreadable = "file-unreadable"
    static let fileUntrusted = "file-untrusted"
    static let outsideSandbox = "outside-sandbox"
    static let auditUnavailable = "audit-unavailable"
    static let limitConnections = "limit-connections"
    static let limitRequests = "limit-requests"
    static let limitTotal = "limit-total-connections"
    static let descriptorsExhausted = "descriptors-exhausted"
    static let notDelivered = "not-delivered"
    static let notAdministrator = "not-administrator"
    static let folded = "folded"
    static let policyFaulty = "policy-faulty"

    static func of(_ distrust: Distrust) -> String {
        switch distrust.kind {
        case .missing: fileMissing
        case .unreadable: fileUnreadable
        case .untrusted: fileUntrusted
        case .shortage: descriptorsExhausted
        case .outside: outsideSandbox
        }
    }
}
