// Who is at the other end of a connection.
//
// One call gets the credentials, which decide whether more has to be asked. The groups and the data in /proc are read
// when a request needs them. The kernel keeps the groups as they were at connect(2).
//
// Must never take an identity from what the peer says, or from printed text. Must never trust a pid alone, because the
// kernel may have given it to another process. So /proc is read between two checks: the pid comes from the socket's
// credentials, and a pidfd from the same socket shows afterwards that the process still runs.

internal import CKernel
internal import Glibc

/// The ids of the process that called `connect(2)` (`SO_PEERCRED`).
package struct PeerCredentials: Equatable, Sendable {
    /// The effective uid and gid.
    package let uid: UInt32
    package let gid: UInt32
    /// Nil if the process is not visible from here, for example in another pid namespace.
    package let pid: Int32?

    package init(uid: UInt32, gid: UInt32, pid: Int32? = nil) {
        self.uid = uid
        self.gid = gid
        self.pid = pid
    }
}

/// The identity of a client at the time of `connect(2)`, as far as it was read.
package struct Peer: Equatable, Sendable {
    package let credentials: PeerCredentials
    /// Nil if they were not read.
    package var groups: PeerGroups?
    /// The process's name, at most 15 bytes (`/proc/PID/comm`). The process can set it to anything.
    package var comm: String?
    /// The system unit that the process runs in (`/proc/PID/cgroup`). Nil if that is not certain.
    package var unit: String?

    package var uid: UInt32 { credentials.uid }
    package var gid: UInt32 { credentials.gid }
    package var pid: Int32? { credentials.pid }

    package init(_ credentials: PeerCredentials) { self.credentials = credentials }

    package init(
        uid: UInt32, gid: UInt32, groups: [UInt32]? = nil, pid: Int32? = nil, comm: String? = nil,
        unit: String? = nil
    ) {
        credentials = PeerCredentials(uid: uid, gid: gid, pid: pid)
        self.groups = groups.map { PeerGroups(named: $0, others: 0) }
        self.comm = comm
        self.unit = unit
    }
}

/// Reads from the kernel what the credentials do not contain.
package protocol PeerSource: ~Copyable {
    /// The peer's supplementary groups that are also in `wanted`, which must be sorted. Nil if it has more than
    /// `limit`.
    borrowing func peerGroups(among wanted: [UInt32], limit: Int) throws(Failure) -> PeerGroups?
    /// What `/proc` says of the process. Nil if it is not certain that this process is the peer.
    /// - Parameter units: the units of control groups that are known already, or nil if `/proc` is to be read each time.
    borrowing func peerProcess(_ pid: Int32, units: UnitTable?) throws(Failure) -> (comm: String?, unit: String?)?
    /// Whether the process that connected still runs. Nil if the kernel cannot tell.
    borrowing func peerIsRunning() throws(Failure) -> Bool?
}

extension SeqpacketSocket: PeerSource {}

extension Descriptor {
    /// Calls `getsockopt(SO_PEERCRED)`. If it fails, the peer is unknown and must get nothing.
    borrowing func peerCredentials() throws(Failure) -> PeerCredentials {
        var credentials = ck_credentials()
        // Safety: the call fills the one struct it is given.
        _ = try unsafe succeed(ck_peer_credentials(number, &credentials), "getsockopt SO_PEERCRED")
        return PeerCredentials(
            uid: credentials.uid, gid: credentials.gid, pid: credentials.pid > 0 ? credentials.pid : nil)
    }
}

extension SeqpacketSocket {
    /// Calls `getsockopt(SO_PEERCRED)`. If it fails, the peer is unknown and must get nothing.
    package borrowing func peerCredentials() throws(Failure) -> PeerCredentials { try descriptor.peerCredentials() }

    /// The peer's supplementary groups that are also in `wanted`, which must be sorted. Nil if the peer has more than
    /// `limit`; the kernel then copies none of them. Calls `getsockopt(SO_PEERGROUPS)`.
    package borrowing func peerGroups(among wanted: [UInt32], limit: Int) throws(Failure) -> PeerGroups? {
        let socket = descriptor.number
        // Few accounts have more than 32. If there is too little room, the kernel returns the number.
        var few = InlineArray<32, UInt32>(repeating: 0)
        var count = UInt32(few.count)
        var room = few.mutableSpan
        // Safety: the call writes at most `count` numbers to memory that the span holds exclusively.
        var result = unsafe room.withUnsafeMutableBufferPointer { groups in
            unsafe ck_peer_groups(socket, groups.baseAddress, &count)
        }
        if result != -ERANGE {
            let number = Int(try succeed(result, "getsockopt SO_PEERGROUPS"))
            return PeerGroups(among: wanted, of: few.span.extracting(first: number))
        }
        if Int(count) > limit { return nil }
        var many = [UInt32](repeating: 0, count: Int(count))
        // Safety: the call writes at most `count` numbers to the array's own storage. They do not change any more.
        result = unsafe many.withUnsafeMutableBufferPointer { groups in
            unsafe ck_peer_groups(socket, groups.baseAddress, &count)
        }
        let number = Int(try succeed(result, "getsockopt SO_PEERGROUPS"))
        return PeerGroups(among: wanted, of: many.span.extracting(first: number))
    }

    /// What `/proc` says of the peer. Nil if it is not certain that this process is the peer.
    package borrowing func peerProcess(
        _ pid: Int32, units: UnitTable?
    ) throws(Failure) -> (comm: String?, unit: String?)? {
        try descriptor.peerProcess(pid, units: units)
    }

    /// Whether the process that connected still runs. Nil if the kernel cannot tell. Calls `getsockopt(SO_PEERPIDFD)` and
    /// `poll(2)`.
    package borrowing func peerIsRunning() throws(Failure) -> Bool? {
        let result = ck_peer_pidfd(descriptor.number)
        guard result >= 0 else {
            let failure = Failure("getsockopt SO_PEERPIDFD", code: -result)
            // Kernels before 6.18 give no pidfd of a process that has ended.
            if failure.code == ESRCH || failure.code == EINVAL { return false }
            if failure.isShortage { throw failure }
            return nil
        }
        let pidfd = Descriptor(taking: result)
        return ck_is_running(pidfd.number) == 1
    }
}
