// A reload (SIGHUP): reopens the audit log, has the policy read again, and puts it in force.
//
// Requests are decided by the old policy until then. Must never take a policy away: if the new one has errors, the old one
// stays in force, if there is one.

internal import Audit
internal import Broker
internal import Kernel
internal import Keys
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
        reloads.next = Reloads.Order(uid: uid, pid: pid, isAsked: true)
        beginReload()
    }

    /// Reads the policy without being asked, if none is in force and it is time to. What was faulty at the start may be
    /// mended, or may have been a name service that did not answer yet.
    func tryPolicyAgain(_ now: Instant) {
        guard reloads.stage == nil, let due = broker.nextTryOfPolicy, due <= now else { return }
        reloads.next = Reloads.Order(uid: Privileges.effectiveUID, pid: Privileges.processID, isAsked: false)
        beginReload()
    }

    /// When a reload has something to do by the clock, or nil if it has nothing.
    var nextReload: Instant? { reloads.stage == nil ? broker.nextTryOfPolicy : reloads.nextDue }

    /// Begins the next reload if none is running.
    private func beginReload() {
        guard reloads.stage == nil, let order = reloads.next else { return }
        reloads.next = nil
        broker.beginReload()
        reloads.begin(order)
    }

    /// Does what comes next in a reload. Does not wait.
    func goOnReloading(_ now: Instant) {
        if isStopping {
            // No policy comes into force any more.
            _ = reloads.take()
            return
        }
        switch reloads.stage {
        case nil: return
        case .reading(let order):
            if let loading = reloads.take() { noteRead(loading, for: order) }
        case .opening(let order, let loading, let until):
            if opener.hasAdoptedPolicy || until <= now { take(loading, for: order) }
        }
    }

    private func noteRead(_ loading: LoadResult, for order: Reloads.Order) {
        if loading.loaded == nil, !order.isAsked, !broker.isNews(loading) {
            broker.postponePolicy(loading, cost: reloads.began.until(.now))
            broker.endReload()
            reloads.stage = nil
            return beginReload()
        }
        if !order.isAsked { manager.reloading() }
        logger.log(loading.diagnostics)
        guard loading.loaded != nil else { return take(loading, for: order) }
        // The process that opens keys has to know the new ones before they are asked for.
        opener.adoptPolicy()
        reloads.stage = .opening(order, loading, until: Instant.now.after(Limits.openerReading))
    }

    private func take(_ loading: LoadResult, for order: Reloads.Order) {
        let cost = reloads.began.until(.now)
        reloads.stage = nil
        let hadPolicy = broker.hasPolicy
        let record = broker.adopt(loading, askedBy: order.uid, pid: order.pid)
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
        // The service manager waits for the reload that it asked for, which may be the next one.
        if reloads.next == nil { manager.ready(summary) } else { manager.status(summary) }
        beginReload()
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
