// How many keys callers get together whom lines name by a group alone.
//
// A grant always has a record. One person can have thousands of uids in a group of theirs (subuid(5)), each with a rate
// of its own, so the log would grow without a bound. The first grant of each uid in a while is left aside: a service that
// starts gets its key, whatever the others of its group do. Must never grow with the number of uids beyond a bound.

internal import Kernel
internal import Wire

struct GroupGrants {
    /// Uids that had one since `turnsAt` was set, and in the time before.
    private var recent: Set<UInt32> = [], older: Set<UInt32> = []
    private var turnsAt = Instant.boot
    /// When the grants so far would have come in at the permitted rate (the generic cell rate algorithm).
    private var pace = Instant.boot

    /// Nil if the uid may have a key now, which is then counted; else how long it has to wait.
    mutating func wait(of uid: UInt32, now: Instant) -> Duration? {
        if turnsAt <= now {
            // Both are old if nobody came for so long.
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
