// The daemon's own events: start, stop, a new policy, a rotated log, and tasks that are due.
//
// Must never put a policy in force that has an error.

package import Audit
package import Kernel
internal import Keys
internal import Policy
package import PolicyLoading
package import Wire

extension Broker {
    /// Records that the daemon starts to serve.
    package func start() throws(Failure) {
        var record = Record(.start)
        if let missing {
            record.reason = .policyFaulty
            life.beganWithout(missing.loading, unreadable)
        }
        record.detail = [
            "keybrokerd \(version)", ledger.recovery, missing.map { faults(of: $0.loading) }, policy.missing.summary,
        ].compactMap(\.self).joined(separator: "; ")
        try recordAlone(record)
    }

    /// Records that the daemon stops.
    package func stop() throws(Failure) {
        ledger.settle(now: .now, policy: digest, all: true)
        try recordAlone(Record(.stop))
    }

    private func recordAlone(_ event: Record) throws(Failure) {
        var record = event
        record.policy = digest
        _ = ledger.stage(record)
        switch ledger.commit([]) {
        case .written, .recovered: return
        case .failed(let failure), .failedAgain(let failure): throw failure
        }
    }

    /// Puts a policy in force if it was read without errors. If not, the old one stays in force. Returns the record
    /// that was staged for it.
    package func adopt(_ loading: LoadResult, askedBy uid: UInt32, pid: Int32) -> Record {
        var record = Record(.reload)
        if let loaded = loading.loaded {
            adopt(loaded)
            life.adopted()
            record.decision = .applied
            record.detail = loaded.missing.summary
        } else {
            life.rejected(loading, hasPolicy ? nil : unreadable)
            record.decision = .rejected
            record.reason = .policyFaulty
            record.detail = faults(of: loading)
        }
        record.uid = uid
        record.pid = pid
        record.policy = digest
        _ = ledger.stage(record)
        return record
    }

    /// Looks at some of the keys that are remembered, and forgets those that the policy in force does not have.
    func sweep() {
        if !rotations.isSwept { rotations.sweep(butNot: policy.policy.declares) }
        if !ledger.isSwept { ledger.sweep(butNot: policy.policy.declares) }
    }

    /// Notes that the daemon begins to read its policy anew.
    package func beginReload() { life.beginReload() }

    /// Notes that a reading of the policy has ended without being a reload.
    package func endReload() { life.endReload() }

    private func faults(of loading: LoadResult) -> String {
        "faults: \(loading.faults); \(loading.firstFault ?? "")"
    }

    /// Whether another file is where the log was, as after a rotation.
    package var logIsReplaced: Bool { ledger.isReplaced }

    /// Whether the last commit succeeded.
    package var logIsWritten: Bool { ledger.isWritten }

    /// Continues in a new log file if the old one was rotated away. Returns whether it did.
    package func reopenLog() throws(LogError) -> Bool { try ledger.reopen() }

    /// The files of the policy's keys that lie outside the sandbox, so that the daemon cannot read them.
    package var keysOutside: [(key: KeyName, path: String)] { keys.keysOutside }

    /// Called when something on the path to a key has changed.
    package func noteChanges() { keys.noteChanges() }

    // MARK: The clock

    /// When `settle` next has something to do, or nil if it has nothing.
    package var nextSettling: Instant? {
        if !rotations.isSwept || !ledger.isSwept { return .boot }
        return .earlier(
            ledger.nextSettling, .earlier(allowance.nextForgetting, .earlier(rotations.nextDue, channels.nextDue)))
    }

    /// Stages records of folded events, and forgets uids that are quiet.
    package func settle(now: Instant) {
        sweep()
        stageSurplus(now: now)
        if let due = ledger.nextSettling, due <= now { ledger.settle(now: now, policy: digest) }
        if let due = allowance.nextForgetting, due <= now { allowance.forgetQuiet(now: now) }
    }
}
