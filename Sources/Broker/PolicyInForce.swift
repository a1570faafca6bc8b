// Holds the policy in force by reference.
//
// A policy has many parts, and each of them would be counted when the whole is copied, some times for each request. Must
// never change: the next policy has another object.

internal import PolicyLoading

/// A policy that is or was in force.
final class PolicyInForce: Sendable {
    let loaded: LoadedPolicy

    init(_ policy: LoadedPolicy) { loaded = policy }
}
