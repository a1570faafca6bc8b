// A reload (SIGHUP): reopens the audit log and reads the policy again.
//
// Must never take a policy away: if the new one has errors, the old one stays in force, if there is one.

internal import Audit
internal import Broker
internal import Kernel
internal import Policy
internal import PolicyLoading
internal import Wire

extension EventLoop {
    /// - Parameters:
    ///   - uid: the sender of the signal, as the kernel reports it.
    ///   - pid: the process that sent it.
    func reload(askedBy uid: UInt32, pid: Int32) {
        manager.reloading()
        reopenLog { logger.log($0, .failure) }
        let began = Instant.now
        let loading = policyFiles.load()
        logger.log(loading.diagnostics)
        take(loading, askedBy: uid, pid: pid, cost: began.until(.now))
    }

    /// Reads the policy without being asked, if none is in force and it is time to. What was faulty at the start may be
    /// mended, or may have been a name service that did not answer yet.
    func tryPolicyAgain(_ now: Instant) {
        guard let due = broker.nextTryOfPolicy, due <= now else { return }
        let loading = policyFiles.load()
        let cost = now.until(.now)
        if loading.loaded == nil, !broker.isNews(loading) { return broker.postponePolicy(loading, cost: cost) }
        manager.reloading()
        logger.log(loading.diagnostics)
        take(loading, askedBy: Privileges.effectiveUID, pid: Privileges.processID, cost: cost)
    }

    private func take(_ loading: LoadResult, askedBy uid: UInt32, pid: Int32, cost: Duration) {
        let hadPolicy = broker.hasPolicy
        let record = broker.adopt(loading, askedBy: uid, pid: pid)
        if loading.loaded == nil, !hadPolicy { broker.postponePolicy(loading, cost: cost) }
        // The record has a number only if the log could be written, whether the policy came into force or not.
        let recorded = commitEvents().last { $0.record.event == .reload }
        if loading.loaded != nil { warnOfKeysOutside() }
        let summary =
            broker.complaint
            ?? (loading.loaded == nil
                ? "the new policy is faulty and was not taken (\(loading.faults) faults); the old one stays in force"
                : "the policy was read anew: \(broker.policy.summary)")
        logger.log(summary, loading.loaded == nil ? .failure : .information, recorded?.fields ?? record.fields)
        manager.ready(summary)
    }

    /// Warns of keys in directories that the policy names for the first time: the sandbox cannot be widened, so they
    /// need a restart.
    func warnOfKeysOutside() {
        let keys = broker.keysOutside
        for (key, path) in keys.prefix(Limits.keysOutsideListed) {
            logger.log(
                "key '\(key)' cannot be handed out: \(path) is in a directory that the daemon did not know when it started, "
                    + "and it keeps itself from reading elsewhere; restart it")
        }
        let more = keys.count - Limits.keysOutsideListed
        if more > 0 { logger.log("\(more) more keys cannot be handed out for the same reason") }
    }
}

extension Logger {
    /// Writes each fault as a failure, and each warning as one.
    func log(_ diagnostics: [Diagnostic]) {
        for diagnostic in diagnostics {
            let priority: Priority = diagnostic.severity == .error ? .failure : .warning
            for line in diagnostic.lines { log(line, priority) }
        }
    }
}

extension LoadedPolicy {
    /// "3 keys, policy 1a2b3c4d5e6f", and how many accounts are not found.
    var summary: String {
        let keys = "\(policy.keys.count) \(policy.keys.count == 1 ? "key" : "keys"), policy \(digest.prefix(12))"
        return [keys, missing.summary].compactMap(\.self).joined(separator: ", ")
    }
}
