// The daemon's own events: start, stop, a new policy, a log that was rotated, what is due by the clock.
//
// Must never put a policy in force that has a fault.

package import Audit
package import Kernel
internal import Policy
package import PolicyLoading
package import Wire

extension Broker {
    /// Records that the daemon begins to serve.
    package func start() throws(Failure) {
        var record = Record(.start)
        record.detail = ["keybrokerd \(version)", ledger.recovery].compactMap(\.self).joined(separator: "; ")
        try recordAlone(record)
    }

    /// Records that it ends.
    package func stop() throws(Failure) {
        ledger.settle(now: .now, policy: policy.digest, all: true)
        try recordAlone(Record(.stop))
    }

    private func recordAlone(_ event: Record) throws(Failure) {
        var record = event
        record.policy = policy.digest
        _ = ledger.stage(record)
        switch ledger.commit([]) {
        case .written, .recovered: return
        case .failed(let failure), .failedAgain(let failure): throw failure
        }
    }

    /// Takes a policy that was read without fault, or records that there was none. The old one stays in
    /// force then. Returns what will be recorded.
    package func adopt(_ loading: LoadResult, askedBy uid: UInt32, pid: Int32) -> Record {
        var record = Record(.reload)
        if let loaded = loading.loaded {
            adopt(loaded)
            life.adopted()
            record.decision = .applied
        } else {
            life.rejected(loading)
            record.decision = .rejected
            record.reason = .policyFaulty
            let first = loading.diagnostics.first { $0.severity == .error }
            record.detail = "faults: \(loading.faults); \(first?.lines.first ?? "")"
        }
        record.uid = uid
        record.pid = pid
        record.policy = policy.digest
        _ = ledger.stage(record)
        return record
    }

    /// Goes on in a new log file where the old one was rotated away.
    package func reopenLog() throws(LogError) -> Bool { try ledger.reopen() }

    /// The files of the policy's keys that lie where the daemon keeps itself from reading.
    package var keysOutside: [(key: KeyName, path: String)] { keys.keysOutside }

    /// Something on the way to a key has changed.
    package func noteChanges() { keys.noteChanges() }

    // MARK: The clock

    /// When `settle` has something to do; nil where it has not.
    package var nextSettling: Instant? { [ledger.nextSettling, allowance.nextForgetting].compactMap(\.self).min() }

    /// Stages records of what was folded, and forgets who is quiet.
    package func settle() {
        let now = Instant.now
        if let due = ledger.nextSettling, due <= now { ledger.settle(now: now, policy: policy.digest) }
        if let due = allowance.nextForgetting, due <= now { allowance.forgetQuiet(now: now) }
    }
}
