// A cache of the lists of keys that callers may get. It lasts as long as the policy is in force.
//
// Making a list means checking each key that a line names for the caller, and sorting. A caller may ask for lists as
// often as for anything else, so they are made once. Must never give a list to a caller that the policy can tell apart
// from the one it was made for, nor keep more names than its bound.

internal import Policy
internal import Wire

struct KeyLists {
    /// Everything by which a policy can tell callers apart.
    private struct Kind: Hashable {
        /// The caller's uid and groups, as far as lines of the policy name them.
        let identities: [Identity]
        let unit: String?
    }

    private var lists: [Kind: [KeyName]] = [:]
    private var names = 0

    mutating func list(for caller: Caller, under policy: Policy) -> [KeyName] {
        let kind = Kind(identities: policy.identities(of: caller).filter(policy.permits), unit: caller.unit)
        if kind.identities.isEmpty { return [] }
        if let known = lists[kind] { return known }
        let list = policy.keys(for: caller)
        if names + list.count > Limits.keptNames || lists.count >= Limits.lists { forget() }
        names += list.count
        lists[kind] = list
        return list
    }

    /// Forgets all lists, because a new policy is in force.
    mutating func forget() {
        lists = [:]
        names = 0
    }
}
