// The ids that the kernel shows for accounts that have no number in this user namespace.
//
// Must never be permitted anything: many different accounts share them.

/// The uid and gid that the kernel shows for any account without a number here, as one of another user namespace.
package struct OverflowIDs: Equatable, Sendable {
    package let uid: UInt32
    package let gid: UInt32

    package init(uid: UInt32, gid: UInt32) {
        self.uid = uid
        self.gid = gid
    }

    /// The values when they were first asked for.
    package static let here = ofThisKernel()

    /// The values of `/proc/sys/kernel/overflowuid` and `overflowgid`. If they cannot be read, 65534, the kernel's
    /// default.
    package static func ofThisKernel() -> OverflowIDs {
        func number(_ name: String) -> UInt32 {
            guard let bytes = try? readSmallFile("/proc/sys/kernel/\(name)", limit: 32) else { return 65534 }
            return UInt32(String(decoding: bytes.prefix { $0 != 10 }, as: UTF8.self)) ?? 65534
        }
        return OverflowIDs(uid: number("overflowuid"), gid: number("overflowgid"))
    }
}
