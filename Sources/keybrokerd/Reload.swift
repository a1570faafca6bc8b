// A reload (SIGHUP): the audit log is reopened and the policy read anew.
//
// Must never leave the daemon without a policy: a faulty one is not taken.

internal import Audit
internal import Broker
internal import Kernel
internal import Policy
internal import PolicyLoading

extension EventLoop {
    /// - Parameters:
    ///   - uid: who sent the signal, by the kernel's word.
    ///   - pid: the process that did.
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
        // In force or not, it has a number only where the log took it.
        let recorded = commitEvents().last { $0.record.event == .reload }
        if loading.loaded != nil { warnOfKeysOutside() }
        let summary =
            loading.loaded == nil
            ? "the new policy is faulty and was not taken (\(loading.faults) faults); the old one stays in force"
            : "the policy was read anew: \(broker.policy.summary)"
        logger.log(summary, loading.loaded == nil ? .failure : .information, recorded?.fields ?? record.fields)
        manager.ready(summary)
    }

    /// The daemon's sandbox cannot be widened: what is new outside of it takes a restart.
    func warnOfKeysOutside() {
        for (key, path) in broker.keysOutside {
            logger.log(
                "key '\(key)' cannot be handed out: \(path) is in a directory that the daemon did not know when it started, "
                    + "and it keeps itself from reading elsewhere; restart it")
        }
    }
}

extension LoadedPolicy {
    /// "3 keys, policy 1a2b3c4d5e6f"
    var summary: String {
        "\(policy.keys.count) \(policy.keys.count == 1 ? "key" : "keys"), policy \(digest.prefix(12))"
    }
}
