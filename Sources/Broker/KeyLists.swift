// The lists of keys that callers may get, kept for as long as a policy is in force.
//
// To make one takes a look at each key that a line names the caller with, and sorting: a caller may ask for it as often
// as for anything else. Must never give a list to a caller that the policy can tell apart from the one it was made for,
// nor keep more than a bound of names.

internal import Policy
internal import Wire

struct KeyLists {
    /// What a policy can tell callers apart by.
    private struct Kind: Hashable {
        /// Those that lines name.
        let identities: [Identity]
        let unit: String?
    }

    private var lists: [Kind: [KeyName]] = [:]
    private var names = 0

    mutating func list(for caller: Caller, under policy: Policy) -> [KeyName] {
        let kind = Kind(identities: caller.identities.filter(policy.names), unit: caller.unit)
        if kind.identities.isEmpty { return [] }
        if let known = lists[kind] { return known }
        let list = policy.keys(for: caller)
        if names + list.count > Limits.listedNames || lists.count >= Limits.lists { forget() }
        names += list.count
        lists[kind] = list
        return list
    }

    /// A new policy is in force.
    mutating func forget() {
        lists = [:]
        names = 0
    }
}
