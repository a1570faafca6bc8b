// A reload (SIGHUP): reopens the audit log and reads the policy again.
//
// Must never leave the daemon without a policy: if the new one has errors, the old one stays in force.

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
        do throws(LogError) {
            if try broker.reopenLog() { logger.log("goes on in a new audit log", .information) }
        } catch { logger.log("the audit log is not reopened, and the old file is written on: \(error)", .failure) }
        let loading = policyFiles.load()
        for diagnostic in loading.diagnostics {
            let priority: Priority = diagnostic.severity == .error ? .failure : .warning
            for line in diagnostic.lines { logger.log(line, priority) }
        }
        let record = broker.adopt(loading, askedBy: uid, pid: pid)
        // The record has a number only if the log could be written, whether the policy came into force or not.
        let recorded = commitEvents().last { $0.record.event == .reload }
        if loading.loaded != nil { warnOfKeysOutside() }
        let summary =
            loading.loaded == nil
            ? "the new policy is faulty and was not taken (\(loading.faults) faults); the old one stays in force"
            : "the policy was read anew: \(broker.policy.summary)"
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

extension LoadedPolicy {
    /// "3 keys, policy 1a2b3c4d5e6f"
    var summary: String {
        "\(policy.keys.count) \(policy.keys.count == 1 ? "key" : "keys"), policy \(digest.prefix(12))"
    }
}
