// A rate limit for grants to all callers together that the policy names only by a group.
//
// Each grant has a record. One person can have thousands of uids in one group (subuid(5)), each with a rate of its own,
// so without this limit the log could grow without bound. The first grant of each uid in a while is not limited, so
// that a service that starts gets its key whatever other members do. Must never grow with the number of uids beyond a
// bound.

internal import Kernel
internal import Wire

struct GroupGrants {
    /// Uids that had a grant in the current period (it ends at `turnsAt`), and those of the period before it.
    private var recent: Set<UInt32> = [], older: Set<UInt32> = []
    private var turnsAt = Instant.boot
    /// When the grants so far would have arrived at the permitted rate (the generic cell rate algorithm).
    private var pace = Instant.boot

    /// Counts a grant and returns nil if the uid may have a key now. Else returns how long it must wait.
    mutating func wait(of uid: UInt32, now: Instant) -> Duration? {
        if turnsAt <= now {
            // If nobody came for a whole period, the recent uids are too old as well.
            older = turnsAt.after(Limits.firstGrant) <= now ? [] : recent
            recent = []
            turnsAt = now.after(Limits.firstGrant)
        }
        let isFirst = !recent.contains(uid) && !older.contains(uid)
        if isFirst, recent.count < Limits.firstGrants {
            recent.insert(uid)
            return nil
        }
        let interval = Duration.seconds(1) / Limits.groupGrantsPerSecond
        let next = max(pace, now).after(interval)
        let ahead = now.until(next) - interval * Limits.groupGrantsAtOnce
        guard ahead <= .zero else { return ahead }
        pace = next
        return nil
    }
}
