// The ids of accounts that the kernel cannot express here.
//
// Must never be permitted anything: they are everybody's and nobody's.

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
