// The daemon's own events: start, stop, a new policy, a log that was rotated.
//
// Must never put a policy in force that has a fault.

package import Audit
package import Kernel
internal import Policy
package import PolicyLoading
internal import Wire

extension Broker {
    /// Records that the daemon begins to serve.
    package func start() throws(Failure) {
        var record = Record(.start)
        record.detail = ["keybrokerd \(version)", log.recovery].compactMap(\.self).joined(separator: "; ")
        _ = stage(record, nil)
        _ = try commitStaged()
    }

    /// Records that it ends.
    package func stop() throws(Failure) {
        settle(all: true)
        _ = stage(Record(.stop), nil)
        _ = try commitStaged()
    }

    /// Takes a policy that was read without fault, or records that there was none. The old one stays in
    /// force then. Returns what will be recorded.
    package func adopt(_ loading: Loading, askedBy uid: UInt32, pid: Int32) -> Record {
        var record = Record(.reload)
        if let loaded = loading.loaded {
            policy = loaded
            life.adopted(loading)
            tally.keep(only: loaded.policy.keys.keys)
            record.decision = .applied
        } else {
            life.rejected(loading)
            record.decision = .rejected
            record.reason = Reason.policyFaulty
            let first = loading.diagnostics.first { $0.severity == .error }
            record.detail = "faults: \(loading.faults); \(first?.lines.first ?? "")"
        }
        record.uid = uid
        record.pid = pid
        keys.forgetWays()
        _ = stage(record, nil)
        return record
    }

    /// Goes on in a new log file where the old one was rotated away.
    package func reopenLog() throws(LogError) -> Bool { try log.reopen() }

    /// Something on the way to a key has changed.
    package func noteChanges() { keys.noteChanges() }
}
