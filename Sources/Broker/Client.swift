// A caller, for the length of a connection: what is known of it, and how much it may ask.
//
// The credentials decide whether it may stay; the rest is read when a request needs it, once for each policy that is
// in force meanwhile. Must never be believed to be in a group, or a unit, that the kernel was not asked for.

internal import Audit
internal import Kernel
internal import Policy
internal import Wire

/// Who is connected.
package final class Client {
    package let standing: Standing
    let account: UserAccount
    /// As far as it is known.
    private(set) var peer: Peer
    /// What the policy can ask of it; nil until it is identified.
    private(set) var caller: Caller?
    /// What lines say of it; nil until its groups are known.
    private(set) var bounds: Bounds?
    /// For which of the policies that were in force the groups were looked through.
    private var policyNumber = -1
    private var hasAskedForProcess = false

    init(_ peer: Peer, _ standing: Standing, _ account: UserAccount) {
        self.peer = peer
        self.account = account
        self.standing = standing
    }

    package var uid: UInt32 { peer.uid }
    var isAdministrator: Bool { standing == .administrator }
    /// Counts as itself if a line names its uid, and else as one of any number.
    var crowd: Folding.Crowd? {
        switch standing {
        case .stranger: .strangers
        case .group: .groups
        case .user, .administrator: nil
        }
    }

    /// How many requests a second it may make.
    var rate: Int { bounds?.requests ?? Limits.requestsPerSecond }

    func isIdentified(under policyNumber: Int) -> Bool { self.policyNumber == policyNumber && caller != nil }

    /// Its groups are known, as far as the policy names groups.
    func adopt(_ groups: PeerGroups, under policy: Policy, number: Int, _ overflow: OverflowIDs) {
        peer.groups = groups
        policyNumber = number
        caller = nil
        bounds = policy.bounds(for: makeCaller(overflow))
    }

    func hasGroups(under policyNumber: Int) -> Bool { self.policyNumber == policyNumber && peer.groups != nil }

    /// Completes the identity, once the groups are known. Reads `/proc` the first time.
    func identify(from source: borrowing some PeerSource & ~Copyable, _ overflow: OverflowIDs) throws(Failure) {
        if !hasAskedForProcess, let pid = peer.pid, let facts = try source.peerProcess(pid) {
            peer.comm = facts.comm
            peer.unit = facts.unit
        }
        hasAskedForProcess = true
        caller = makeCaller(overflow)
    }

    private func makeCaller(_ overflow: OverflowIDs) -> Caller {
        Caller(
            uid: peer.uid, gid: peer.gid, groups: peer.groups?.named ?? [], unit: peer.unit,
            unmapped: (overflow.uid, overflow.gid))
    }
}

extension Standing: Comparable {
    package static func < (left: Self, right: Self) -> Bool {
        guard let left = allCases.firstIndex(of: left), let right = allCases.firstIndex(of: right) else { return false }
        return left < right
    }
}
