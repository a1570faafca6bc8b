// A caller, for as long as its connection lasts: what is known about it, and how much it may ask.
//
// The credentials decide whether it may stay. The rest is read when a request needs it, once for each policy that comes
// into force. Must never be taken for a member of a group, or for part of a unit, without asking the kernel.

internal import Audit
internal import Kernel
internal import Policy
internal import Wire

/// A connected caller.
package final class Client {
    package let standing: Standing
    let account: UserAccount
    /// What the kernel has said about it so far.
    private(set) var peer: Peer
    /// What the policy can ask about it, or nil until it is identified.
    private(set) var caller: Caller?
    /// The same without a unit, or nil until its groups are known.
    private var accounts: Caller?
    /// The limits that the policy sets for it, or nil until its groups are known.
    private(set) var bounds: Bounds?
    /// The number of the policy for which its groups were read, or -1 if they were not read yet.
    private var policyNumber = -1
    private var hasAskedForProcess: Bool
    /// Its very many groups were looked at for the request that is being answered.
    var owesForGroups = false

    /// - Parameter hasAskedForProcess: true if `peer` holds already what `/proc` says of the process.
    init(_ peer: Peer, _ standing: Standing, _ account: UserAccount, hasAskedForProcess: Bool = false) {
        self.peer = peer
        self.account = account
        self.standing = standing
        self.hasAskedForProcess = hasAskedForProcess
    }

    package var uid: UInt32 { peer.uid }
    var isAdministrator: Bool { standing == .administrator }
    var crowd: Folding.Crowd? { standing.crowd }
    /// Whether one person can have any number of such callers, each with an account of its own.
    var isOneOfMany: Bool { standing <= .group }

    /// Whether what both use is counted together.
    package func sharesAccount(with other: Client) -> Bool { account === other.account }

    /// Whether one more of the requests of its uid belongs to the first ones of a turn. If so, it is counted.
    package func takeShare(of turn: UInt64) -> Bool { account.takeShare(of: turn) }

    /// How many requests it may make per second.
    var rate: Int { bounds?.requests ?? Limits.requestsPerSecond }

    func isIdentified(under policyNumber: Int) -> Bool { self.policyNumber == policyNumber && caller != nil }

    /// Takes over its groups, as far as the policy names them.
    func adopt(_ groups: PeerGroups, under policy: Policy, number: Int, _ overflow: OverflowIDs) {
        peer.groups = groups
        policyNumber = number
        caller = nil
        let accounts = Caller(
            uid: peer.uid, gid: peer.gid, groups: groups.named, unit: nil, unmapped: (overflow.uid, overflow.gid))
        self.accounts = accounts
        bounds = policy.bounds(for: accounts)
    }

    /// The limits that another policy sets for it, as far as it is known.
    func bounds(under policy: Policy) -> Bounds? { accounts.map(policy.bounds) }

    func hasGroups(under policyNumber: Int) -> Bool { self.policyNumber == policyNumber && peer.groups != nil }

    /// Completes the identity after `adopt`. Reads `/proc` the first time.
    func identify(from source: borrowing some PeerSource & ~Copyable, _ units: UnitTable) throws(Failure) {
        if !hasAskedForProcess, let pid = peer.pid, let facts = try source.peerProcess(pid, units: units) {
            peer.comm = facts.comm
            peer.unit = facts.unit
        }
        hasAskedForProcess = true
        caller = accounts?.running(in: peer.unit)
    }
}
