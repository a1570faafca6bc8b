// What the broker answers while no policy is in force, because the one at its start was faulty.
//
// Nobody is served then, and everybody is told so at once, whatever they ask for. Must never look at a key or at its
// name: without a policy nothing is permitted to anybody.

internal import Audit
package import Kernel
internal import Keys
internal import Policy
package import PolicyLoading
internal import Wire

/// Why no policy is in force, and when to try again without being asked.
struct MissingPolicy {
    var loading: LoadResult
    var nextTry: Instant

    /// The first line of the first fault.
    var fault: String { loading.firstFault ?? "no fault is known" }
}

extension LoadResult {
    /// The first line of the first fault. Nil if there is none.
    var firstFault: String? { diagnostics.first { $0.severity == .error }?.lines.first }
}

extension Broker {
    /// Whether a policy is in force.
    package var hasPolicy: Bool { missing == nil }

    /// The SHA-256 of the policy in force. Nil if there is none.
    var digest: String? { hasPolicy ? policy.digest : nil }

    /// What the service manager and the log are told while there is none: the first fault, and what to type.
    package var complaint: String? {
        missing.map {
            "serves nobody, as the policy is faulty: \($0.fault); correct it, and "
                + "type: "
                + (unreadable == nil
                    ? "keybroker reload" : "\(restart), as keybrokerd can read it only after a restart")
        }
    }

    /// Why no reload can take a policy: its directory was not there when the sandbox was made. Nil if one can.
    var unreadable: String? {
        let sandbox = keys.sandbox
        let outside = policy.source.paths.first { !sandbox.covers($0) && !sandbox.covers(folder(of: $0)) }
        return outside.map {
            "\($0): error: its directory was not there when keybrokerd started, which can read it only after a restart; "
                + "type: \(restart)"
        }
    }

    /// When to try the policy again without being asked. Nil if one is in force.
    package var nextTryOfPolicy: Instant? { missing?.nextTry }

    /// Notes how the policy was found that could not be put in force.
    /// - Parameter cost: how long it took to read it. The daemon may spend a small part of its time with that.
    package func postponePolicy(_ loading: LoadResult, cost: Duration) {
        missing = MissingPolicy(loading: loading, nextTry: Instant.now.after(max(Limits.policyRetry, cost * 20)))
    }

    /// Whether these are other faults than those that were found before.
    package func isNews(_ loading: LoadResult) -> Bool {
        missing.map { $0.loading.diagnostics.flatMap(\.lines) != loading.diagnostics.flatMap(\.lines) } ?? true
    }
}
