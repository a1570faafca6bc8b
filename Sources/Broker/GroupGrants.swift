// Limits how many keys callers get together if lines name them only by a group.
//
// A grant always has a record. One person can have thousands of uids in a group of theirs (subuid(5)), each with a rate
// limit of its own, so the log would grow without a bound. A few grants of each uid are not counted: a service that
// starts, and starts again, gets its key whatever the others of its group do. Beyond these, one uid alone cannot use up
// what all have together. Must never grow with the number of uids beyond a bound.

internal import Kernel
internal import Wire

struct GroupGrants {
    /// How many grants each uid had in the current period, which ends at `turnsAt`, and in the one before it.
    private var recent: [UInt32: UInt8] = [:], older: [UInt32: UInt8] = [:]
    private var turnsAt = Instant.boot
    /// Shared by all.
    private var pace = Pace()

    private static let shared = Rate(perSecond: Limits.groupGrantsPerSecond, atOnce: Limits.groupGrantsAtOnce)
    /// Half of that at once: who has used up a share of its own leaves the other half to the others.
    private static let half = Rate(perSecond: Limits.groupGrantsPerSecond, atOnce: Limits.groupGrantsAtOnce / 2)
    private static let ofOne = Rate(perSecond: 1, atOnce: Limits.groupGrantsOfOneAtOnce)

    /// Returns nil if the uid may have a key now, or else how long it must wait. Counts nothing.
    mutating func wait(of account: UserAccount, now: Instant) -> Duration? {
        guard case .user(let uid) = account.owner else { return nil }
        turn(now)
        if hasFreeGrant(uid) { return nil }
        let isModest = account.sharedGrants.wait(Self.ofOne, now) == nil
        return pace.wait(isModest ? Self.shared : Self.half, now)
    }

    /// Counts a grant that `wait` permitted.
    mutating func count(_ account: UserAccount, now: Instant) {
        guard case .user(let uid) = account.owner else { return }
        if hasFreeGrant(uid) {
            recent[uid, default: 0] += 1
        } else {
            account.sharedGrants.count(Self.ofOne, now)
            pace.count(Self.shared, now)
        }
    }

    private func hasFreeGrant(_ uid: UInt32) -> Bool {
        guard let had = recent[uid] else {
            return recent.count < Limits.freeGroupGrantUsers && older[uid, default: 0] < Limits.freeGroupGrants
        }
        return had + older[uid, default: 0] < Limits.freeGroupGrants
    }

    private mutating func turn(_ now: Instant) {
        guard turnsAt <= now else { return }
        // If nobody came for a whole period, the recent counts are too old as well.
        older = turnsAt.after(Limits.freeGroupGrantPeriod) <= now ? [:] : recent
        recent = [:]
        turnsAt = now.after(Limits.freeGroupGrantPeriod)
    }
}
