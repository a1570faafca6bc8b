// The names of the lines of a status page. keybrokerd(8) explains each, and a test compares it with this list.
//
// Must never lose a name, because other programs read them.

/// The name of a line of a status page.
package enum StatusName: String, CaseIterable, Sendable {
    case version, pid
    case uptimeSeconds = "uptime-seconds"
    case policy
    case policyState = "policy-state"
    case policyAgeSeconds = "policy-age-seconds"
    case policyKeys = "policy-keys"
    case policyPermits = "policy-permits"
    case policyPath = "policy-path"
    case policyPathOptional = "policy-path-optional"
    case reloadsApplied = "reloads-applied"
    case reloadsRejected = "reloads-rejected"
    case reloadsBegun = "reloads-begun"
    case lastReloadNumber = "last-reload-number"
    case reload
    case reloadSeconds = "reload-seconds"
    case lastReload = "last-reload"
    case lastReloadFault = "last-reload-fault"
    case connections
    case connectionsMost = "connections-most"
    case oldestWaitingMilliseconds = "oldest-waiting-milliseconds"
    case credentialSocket = "credential-socket"
    case credentials
    /// The process that signs: `running`, `starting`, `ended` or `none`.
    case signer
    /// Open signing channels, in the status. In a reply to the verb R, `channel` is one of them.
    case channels, channel
    case audit
    case auditSeq = "audit-seq"
    case auditHead = "audit-head"
    case auditPath = "audit-path"
    case requests, sandbox
    case outsideSandboxKeys = "outside-sandbox-keys"
    case outsideSandbox = "outside-sandbox"
    case hiddenKeys = "hidden-keys"
    case hiddenKey = "hidden-key"
    case missingAccounts = "missing-accounts"
    case missingAccount = "missing-account"
    case key
    /// Open watches, in the status. In a reply to the verb R: a key, and a connection that watches it.
    case watches, rotation, holder
    /// The last line if there are more lines of the last kind. Its value says where the next page begins.
    case more
}
