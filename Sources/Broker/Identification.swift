// Asks the kernel who a client is, as far as the policy in force can ask.
//
// Must never read the many groups of one caller after the other without a limit.

internal import Kernel
internal import Policy
internal import PolicyLoading
internal import Wire

extension Broker {
    /// Asks the kernel for what is not yet known about the client. Returns nil, or the reason why it cannot be known
    /// now.
    func identify(
        _ client: Client, from source: borrowing some PeerSource & ~Copyable, _ now: Instant
    ) throws(Failure) -> Reason? {
        do throws(Failure) {
            if !client.hasGroups(under: policyNumber) {
                guard let groups = try groups(of: client, from: source, now) else { return .limitGroups }
                client.adopt(groups, under: policy.policy, number: policyNumber, overflow)
            }
            try client.identify(from: source, units)
            return nil
        } catch {
            if error.isShortage { return .descriptorsExhausted }
            throw error
        }
    }

    /// The client's groups. Nil if it has very many and the groups of other such clients were read just now: the kernel
    /// copies up to 65,536 of them each time.
    private func groups(
        of client: Client, from source: borrowing some PeerSource & ~Copyable, _ now: Instant
    ) throws(Failure) -> PeerGroups? {
        let wanted = policy.policy.namedGroups
        if let few = try source.peerGroups(among: wanted, limit: Limits.groupsReadFreely) { return few }
        client.owesForGroups = true
        guard !client.isOneOfMany || allowance.mayReadManyGroups(now: now) else { return nil }
        return try source.peerGroups(among: wanted, limit: .max)
    }

    func payForGroups(_ client: Client, _ now: Instant) {
        guard client.owesForGroups else { return }
        client.owesForGroups = false
        client.account.charge(Limits.requestsForManyGroups, perSecond: client.rate, now: now)
    }
}
