// Decides who may hold a connection: by the credentials, and by the groups and the unit only if the credentials do not
// settle it.
//
// What a connection costs is decided first, by the uid alone: a uid that connects too often gets no reply and no record
// of its own, only a count. Must never open anything. Must never let one account take the places of the others, nor many
// accounts that no line of the policy names.

internal import Audit
package import Kernel
internal import Policy
internal import PolicyLoading
internal import Wire

/// Whether a caller may stay.
package enum Admission {
    case admitted(Client)
    /// There is no place for the caller. The answer tells it so.
    case turnedAway(Client, Answer)
    /// The same, but its uid was told so often enough. The connection is counted, and is closed without a reply.
    case surplus
}

extension Broker {
    /// Returns the caller if it may stay, or else the answer that turns it away.
    package func admit(_ credentials: PeerCredentials, from source: borrowing some PeerSource & ~Copyable)
        throws(Failure) -> Admission
    {
        let policy = policy.policy
        var peer = Peer(credentials)
        let uid = credentials.uid
        let now = Instant.now
        var account = allowance.account(of: uid)
        let rate = policy.possibleRequests(
            ofUser: uid == overflow.uid ? nil : uid, otherwise: Limits.requestsPerSecond
        ).upperBound
        if let wait = allowance.arrive(account, perSecond: rate, now: now) {
            return turnAway(
                peer, standing(of: credentials, under: policy), account, .limitConnectionRate,
                for: account.waitInTurn(wait, perSecond: rate, now: now), now)
        }
        var held = account.connections
        let possible = policy.possibleConnections(
            ofUser: uid == overflow.uid ? nil : uid, otherwise: capacity.connectionsPerUser)
        var standing = standing(of: credentials, under: policy)
        // This check comes before any other question to the kernel, so that a caller over its limit costs no more than
        // this.
        if held >= possible.upperBound { return turnAway(peer, standing, account, .limitConnections, now) }
        if !allowance.hasPlace(for: .administrator, isFirst: held == 0, in: capacity) {
            return turnAway(peer, standing, account, .limitTotal, now)
        }

        var groups: PeerGroups?
        if standing < .group || held >= possible.lowerBound, !policy.namedGroups.isEmpty {
            // A caller with very many groups counts as a stranger until it makes a request.
            groups = try source.peerGroups(among: policy.namedGroups, limit: Limits.groupsReadFreely)
            peer.groups = groups
        }
        if standing == .stranger, uid != overflow.uid, isPermitted(groups?.named ?? [], by: policy) {
            standing = .group
        }
        var hasAskedForProcess = false
        do throws(Failure) {
            if let facts = try process(of: peer, standing, under: policy, from: source) {
                (peer.comm, peer.unit, hasAskedForProcess) = (facts.comm, facts.unit, true)
            }
        } catch {
            guard error.isShortage else { throw error }
            return turnAway(peer, standing, account, .descriptorsExhausted, now)
        }
        if hasAskedForProcess, let unit = peer.unit, policy.permits(unit: unit) {
            standing = .unit
            account = allowance.account(of: .unit(unit))
            held = account.connections
        }
        let client = Client(peer, standing, account, hasAskedForProcess: hasAskedForProcess)
        if let groups { client.adopt(groups, under: policy, number: policyNumber, overflow) }
        // Without a line about the caller the default holds, whatever lines say of other groups.
        let known = client.bounds.map { $0.connections ?? capacity.connectionsPerUser }
        let bound = known ?? possible.lowerBound
        if held >= (standing == .stranger ? min(bound, Limits.connectionsPerStranger) : bound) {
            return turnAway(peer, standing, account, .limitConnections, now)
        }
        guard allowance.hasPlace(for: standing, isFirst: held == 0, in: capacity) else {
            return turnAway(peer, standing, account, .limitTotal, now)
        }
        allowance.beginConnection(account, standing)
        return .admitted(client)
    }

    /// What `/proc` says of a caller that only its unit could make better known. Nil if it makes no difference, cannot
    /// be told, or was asked for too often.
    private func process(
        of peer: Peer, _ standing: Standing, under policy: Policy, from source: borrowing some PeerSource & ~Copyable
    ) throws(Failure) -> (comm: String?, unit: String?)? {
        guard standing < .unit, policy.permitsUnits, peer.uid != overflow.uid, let pid = peer.pid else {
            return nil
        }
        let most = policy.possibleRequests(ofUser: peer.uid, otherwise: Limits.requestsPerSecond).upperBound
        guard unitLooks.take(peer.uid, most: most, now: .now) else { return nil }
        return try source.peerProcess(pid, units: units)
    }

    /// Gives back the place of a connection that `admit` let in and that has ended.
    package func dismiss(_ client: Client) { allowance.endConnection(client.account, client.standing, now: .now) }

    /// The standing that uid and gid alone show.
    private func standing(of credentials: PeerCredentials, under policy: Policy) -> Standing {
        let uid = credentials.uid
        if uid == 0 || uid == ownUID { return .administrator }
        if uid == overflow.uid { return .stranger }
        if policy.names(.user(uid)) { return .user }
        return credentials.gid != overflow.gid && isPermitted([credentials.gid], by: policy) ? .group : .stranger
    }

    /// Whether a line permits a key to one of the groups. A `limit` line alone makes nobody known.
    private func isPermitted(_ groups: [UInt32], by policy: Policy) -> Bool {
        groups.contains { policy.permits(.group($0)) }
    }

    private func turnAway(
        _ peer: Peer, _ standing: Standing, _ account: UserAccount, _ reason: Reason,
        for wait: @autoclosure () -> Duration = Limits.busy, _ now: Instant
    ) -> Admission {
        guard allowance.mayAnswerRefusal(account, standing, now: now) else { return .surplus }
        let client = Client(peer, standing, account)
        return .turnedAway(client, busy(reason, for: wait(), Record(.limit), client, isLast: true))
    }

    /// Stages what the log says of connections that were closed without a reply: for each uid or unit how many they were.
    func stageSurplus(now: Instant) {
        for (owner, standing, count) in allowance.takeSurplus() {
            let subject: Folding.Subject =
                switch owner {
                case .user(let uid): .uid(uid)
                case .unit(let unit): .callers(inUnit: unit)
                }
            ledger.stageSurplus(of: subject, in: standing.crowd, times: count, policy: digest, now: now)
        }
    }
}
