// Who is at the other end of a connection.
//
// The credentials come first, in one call: they tell whether the rest is worth asking for. The groups and what
// /proc says follow when a request needs them; the kernel keeps the groups as they were at connect(2).
//
// Must never take an identity from anything the peer says, from a printed string, or from a pid that
// may by now belong to somebody else: everything under /proc is asked for between two certainties,
// the credentials of the socket and a pidfd of the same process that still runs afterwards.

internal import CKernel
internal import Glibc

/// Who called `connect(2)` (`SO_PEERCRED`).
package struct PeerCredentials: Equatable, Sendable {
    /// The effective ids.
    package let uid: UInt32
    package let gid: UInt32
    /// Nil where the process is not visible from here, as from another pid namespace.
    package let pid: Int32?

    package init(uid: UInt32, gid: UInt32, pid: Int32? = nil) {
        self.uid = uid
        self.gid = gid
        self.pid = pid
    }
}

/// The identity of a client as it was at `connect(2)`, as far as it was asked for.
package struct Peer: Equatable, Sendable {
    package let credentials: PeerCredentials
    /// Nil where they were not asked for.
    package var groups: PeerGroups?
    /// The process's name, at most 15 bytes, which it may set to anything (`/proc/PID/comm`).
    package var comm: String?
    /// The system unit that it runs in, where the kernel could tell for certain (`/proc/PID/cgroup`).
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

/// Asks the kernel for what the credentials leave out.
package protocol PeerSource: ~Copyable {
    /// Those of the peer's supplementary groups that are in `wanted`, which is sorted; nil if it has more than `limit`.
    borrowing func peerGroups(among wanted: [UInt32], limit: Int) throws(Failure) -> PeerGroups?
    /// What `/proc` says of the process; nil if it cannot be known that it is this peer's.
    borrowing func peerProcess(_ pid: Int32) throws(Failure) -> (comm: String?, unit: String?)?
}

extension SeqpacketSocket: PeerSource {}

extension SeqpacketSocket {
    /// Calls `getsockopt(SO_PEERCRED)`. A failure means that the peer is unknown: it gets nothing.
    package borrowing func peerCredentials() throws(Failure) -> PeerCredentials {
        var credentials = ck_credentials()
        // Safety: the call fills the one struct it is given.
        _ = try unsafe succeed(ck_peer_credentials(descriptor.number, &credentials), "getsockopt SO_PEERCRED")
        return PeerCredentials(
            uid: credentials.uid, gid: credentials.gid, pid: credentials.pid > 0 ? credentials.pid : nil)
    }

    /// Those of the peer's supplementary groups that are in `wanted`, which is sorted; nil if the peer has more
    /// than `limit`, of which the kernel then copies none. Calls `getsockopt(SO_PEERGROUPS)`.
    package borrowing func peerGroups(among wanted: [UInt32], limit: Int) throws(Failure) -> PeerGroups? {
        // Few accounts have more; the kernel says how many there are if this is too small.
        var groups = [UInt32](repeating: 0, count: 32)
        let socket = descriptor.number
        while true {
            var count = UInt32(groups.count)
            // Safety: the call writes at most `count` numbers to the array's own storage.
            let result = unsafe groups.withUnsafeMutableBufferPointer { groups in
                unsafe ck_peer_groups(socket, groups.baseAddress, &count)
            }
            if result == -ERANGE, Int(count) > groups.count {
                if Int(count) > limit { return nil }
                groups = [UInt32](repeating: 0, count: Int(count))
                continue
            }
            groups.removeSubrange(Int(try succeed(result, "getsockopt SO_PEERGROUPS"))...)
            return PeerGroups(among: wanted, of: groups)
        }
    }

    /// What `/proc` says of the peer, or nil where it cannot be known that it is this peer's. Calls
    /// `getsockopt(SO_PEERPIDFD)` and reads `/proc`.
    package borrowing func peerProcess(_ pid: Int32) throws(Failure) -> (comm: String?, unit: String?)? {
        let result = ck_peer_pidfd(descriptor.number)
        guard result >= 0 else {
            let failure = Failure("getsockopt SO_PEERPIDFD", code: -result)
            // A full table is this daemon's trouble, and would make a caller look as if it had no unit.
            if failure.isShortage { throw failure }
            return nil
        }
        let pidfd = Descriptor(taking: result)
        let comm = try Self.contents(of: "/proc/\(pid)/comm")
        let cgroup = try Self.contents(of: "/proc/\(pid)/cgroup")
        // Only if the process still runs was its pid its own while we read.
        guard ck_is_running(pidfd.number) == 1 else { return nil }
        return (
            comm.map { String(decoding: $0.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self) },
            cgroup.flatMap { unitName(inCgroups: $0) }
        )
    }

    /// A short file of `/proc`, or nil where it is gone or hidden.
    private static func contents(of path: String) throws(Failure) -> [UInt8]? {
        let result = PathCall.openForReading(in: AT_FDCWD)(path)
        guard result >= 0 else {
            let failure = Failure("open", code: -result, on: path)
            if failure.isShortage { throw failure }
            return nil
        }
        let file = Descriptor(taking: result)
        var bytes = [UInt8](repeating: 0, count: 4096)
        guard let count = try? file.read(into: &bytes, at: 0) else { return nil }
        return Array(bytes[..<count])
    }
}
