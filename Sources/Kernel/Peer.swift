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

/// The supplementary groups of a peer (`SO_PEERGROUPS`): those that somebody wants to know of.
package struct PeerGroups: Equatable, Sendable {
    /// Sorted.
    package let named: [UInt32]
    /// How many more there are.
    package let others: Int

    package init(named: [UInt32], others: Int) {
        self.named = named
        self.others = others
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
        // Safety: a Swift string is passed as a NUL-terminated C string for the length of the call.
        let result = unsafe ck_open_for_reading(AT_FDCWD, path)
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

extension PeerGroups {
    /// Looks for each of the shorter list in the longer one. The kernel sorts groups, but by its own numbers: a
    /// user namespace may show them in another order, which sorting here finds out in one pass.
    init(among wanted: [UInt32], of groups: [UInt32]) {
        let sorted = groups.sorted()
        let (few, many) = wanted.count < sorted.count ? (wanted, sorted) : (sorted, wanted)
        let named = few.filter { many.containsSorted($0) }
        self.init(named: named, others: groups.count - named.count)
    }
}

extension [UInt32] {
    /// A binary search in a sorted list.
    package func containsSorted(_ number: UInt32) -> Bool {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if self[middle] < number { low = middle + 1 } else { high = middle }
        }
        return low < count && self[low] == number
    }
}

/// The system unit that a `/proc/PID/cgroup` names: the first component of the cgroup2 path that is not
/// a slice. What a user's own service manager, or a container, made below that counts for nothing: the
/// unit is then `user@1000.service`, or the container's scope.
package func unitName(inCgroups file: [UInt8]) -> String? {
    for line in file.split(separator: UInt8(ascii: "\n")) where line.starts(with: "0::/".utf8) {
        for component in line.dropFirst(4).split(separator: UInt8(ascii: "/")) {
            // systemd puts an underscore before a name that would read as something of the kernel's.
            let name = component.first == UInt8(ascii: "_") ? component.dropFirst() : component
            if name.hasSuffix(".slice") { continue }
            let isUnit = name.hasSuffix(".service") || name.hasSuffix(".scope")
            return isUnit ? String(decoding: name, as: UTF8.self) : nil
        }
    }
    return nil
}

extension ArraySlice<UInt8> {
    fileprivate func hasSuffix(_ suffix: String) -> Bool {
        count > suffix.utf8.count && self.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
    }
}

/// The uid and gid that the kernel shows for accounts it cannot express here: another user namespace's.
package struct OverflowIDs: Equatable, Sendable {
    package let uid: UInt32
    package let gid: UInt32

    package init(uid: UInt32, gid: UInt32) {
        self.uid = uid
        self.gid = gid
    }

    /// As `/proc/sys/kernel/overflowuid` and `overflowgid` say, or 65534, the kernel's default.
    package static func ofThisKernel() -> OverflowIDs {
        func number(_ name: String) -> UInt32 {
            guard let bytes = try? readSmallFile("/proc/sys/kernel/\(name)", limit: 32) else { return 65534 }
            return UInt32(String(decoding: bytes.prefix { $0 != 10 }, as: UTF8.self)) ?? 65534
        }
        return OverflowIDs(uid: number("overflowuid"), gid: number("overflowgid"))
    }
}
