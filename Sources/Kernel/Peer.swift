// Who is at the other end of a connection: read once, right after accept, into a value.
//
// Must never take an identity from anything the peer says, from a printed string, or from a pid that
// may by now belong to somebody else: everything under /proc is asked for between two certainties,
// the credentials of the socket and a pidfd of the same process that still runs afterwards.

internal import CKernel
internal import Glibc

/// The identity of a client as it was at `connect(2)`.
package struct Peer: Equatable, Sendable {
    /// The effective ids (`SO_PEERCRED`).
    package let uid: UInt32
    package let gid: UInt32
    /// The supplementary groups (`SO_PEERGROUPS`).
    package let groups: [UInt32]
    /// Nil where the process is not visible from here, as from another pid namespace.
    package let pid: Int32?
    /// The process's name, at most 15 bytes, which it may set to anything (`/proc/PID/comm`).
    package let comm: String?
    /// The system unit that it runs in, where the kernel could tell for certain (`/proc/PID/cgroup`).
    package let unit: String?

    package init(
        uid: UInt32, gid: UInt32, groups: [UInt32] = [], pid: Int32? = nil, comm: String? = nil,
        unit: String? = nil
    ) {
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.pid = pid
        self.comm = comm
        self.unit = unit
    }
}

extension SeqpacketSocket {
    /// Reads who the peer is. Calls `getsockopt(2)` with `SO_PEERCRED`, `SO_PEERGROUPS` and
    /// `SO_PEERPIDFD`, then reads `/proc`. A failure means that the peer is unknown: it gets nothing.
    package borrowing func peer() throws(Failure) -> Peer {
        var credentials = ck_credentials()
        let socket = descriptor.number
        // Safety: the call fills the one struct it is given.
        _ = try unsafe succeed(ck_peer_credentials(socket, &credentials), "getsockopt SO_PEERCRED")
        let groups = try peerGroups()
        let facts = try peerFacts(pid: credentials.pid)
        return Peer(
            uid: credentials.uid, gid: credentials.gid, groups: groups,
            pid: credentials.pid > 0 ? credentials.pid : nil, comm: facts?.comm, unit: facts?.unit)
    }

    private borrowing func peerGroups() throws(Failure) -> [UInt32] {
        // Few accounts have more; the kernel says how many there are where this is too small.
        var groups = [UInt32](repeating: 0, count: 32)
        let socket = descriptor.number
        while true {
            var count = UInt32(groups.count)
            // Safety: the call writes at most `count` numbers to the array's own storage.
            let result = unsafe groups.withUnsafeMutableBufferPointer { groups in
                unsafe ck_peer_groups(socket, groups.baseAddress, &count)
            }
            if result == -ERANGE, Int(count) > groups.count {
                groups = [UInt32](repeating: 0, count: Int(count))
                continue
            }
            groups.removeSubrange(Int(try succeed(result, "getsockopt SO_PEERGROUPS"))...)
            return groups
        }
    }

    /// What `/proc` says of the peer, or nil where it cannot be known that it is this peer's.
    private borrowing func peerFacts(pid: Int32) throws(Failure) -> (comm: String?, unit: String?)? {
        guard pid > 0 else { return nil }
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
