// What the kernel says of the process at the other end: its name, and the system unit that it runs in.
//
// Must never trust a pid alone, because the kernel may have given it to another process. So /proc is read between two
// checks: the pid comes from the socket's credentials, and a pidfd from the same socket shows afterwards that the process
// still runs.

internal import CKernel
internal import Glibc

extension Descriptor {
    /// What `/proc` says of the peer. Nil if it is not certain that this process is the peer. Calls
    /// `getsockopt(SO_PEERPIDFD)`, `ioctl(PIDFD_GET_INFO)` and `poll(2)`, and reads `/proc`.
    borrowing func peerProcess(
        _ pid: Int32, units: UnitTable?
    ) throws(Failure) -> (comm: String?, unit: String?)? {
        let result = ck_peer_pidfd(number)
        guard result >= 0 else {
            let failure = Failure("getsockopt SO_PEERPIDFD", code: -result)
            // This daemon has no free descriptor. Nil would be wrong: it would mean that the caller has no unit.
            if failure.isShortage { throw failure }
            return nil
        }
        let pidfd = Descriptor(taking: result)
        let comm = try Self.comm(of: pid)
        let unit = try Self.unit(of: pid, pidfd, units)
        // If the process still runs, nobody else had its pid while /proc was read.
        guard ck_is_running(pidfd.number) == 1 else { return nil }
        return (comm, unit)
    }

    /// The process's name, or nil if it is gone or hidden.
    private static func comm(of pid: Int32) throws(Failure) -> String? {
        // The kernel shows at most 15 bytes and a line feed.
        var name = InlineArray<64, CChar>(repeating: 0)
        var room = name.mutableSpan
        // Safety: the call writes at most as many bytes as the span covers.
        let result = unsafe room.withUnsafeMutableBufferPointer { name in
            unsafe ck_name_of_process(pid, name.baseAddress, name.count)
        }
        guard result >= 0 else {
            let failure = Failure("open", code: -result, on: "/proc/\(pid)/comm")
            if failure.isShortage { throw failure }
            return nil
        }
        let bytes = name.span.extracting(first: Int(result))
        // Safety: the text is made of the bytes that the span covers.
        return unsafe bytes.withUnsafeBytes { bytes in
            unsafe String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        }
    }

    private static func unit(
        of pid: Int32, _ pidfd: borrowing Descriptor, _ units: UnitTable?
    ) throws(Failure) -> String? {
        let group = units == nil ? nil : controlGroup(of: pidfd)
        if let group, let known = units?.unit(inGroup: group) { return known }
        guard let groups = try contents(of: "/proc/\(pid)/cgroup") else { return nil }
        let unit = unitName(inCgroups: groups)
        // Whoever may move processes could move this one meanwhile, and the process could end and its pid become
        // another's. The unit is remembered only for the group in which this process was before and is afterwards.
        if let group, controlGroup(of: pidfd) == group { units?.remember(unit, ofGroup: group) }
        return unit
    }

    /// The number of the process's control group. Nil if the kernel does not tell.
    private static func controlGroup(of pidfd: borrowing Descriptor) -> UInt64? {
        var group: UInt64 = 0
        // Safety: the call fills the one number it is given.
        return unsafe ck_cgroup_of_process(pidfd.number, &group) >= 0 ? group : nil
    }

    /// The content of a short file of `/proc`, or nil if it is gone or hidden.
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
