// Limits how often the daemon looks for the unit of callers that ask for a place, and that nothing else makes known.
//
// A look costs about as much as a connection. So each uid has as many of them in a second as it may make requests.
// Must never let the looks of one uid use up those of another, nor grow with the number of uids beyond a bound.

internal import Kernel
internal import Wire

struct UnitLooks {
    /// The looks of this period, which ends at `turnsAt`.
    private var looks: [UInt32: Int] = [:]
    private var turnsAt = Instant.boot

    /// Whether the daemon may look once more for the unit of a caller of this uid. If so, it is counted.
    mutating func take(_ uid: UInt32, most: Int, now: Instant) -> Bool {
        if turnsAt <= now {
            looks.removeAll(keepingCapacity: true)
            turnsAt = now.after(.seconds(1))
        }
        guard let had = looks[uid] else {
            // So many uids cannot come in a second. If they do, it is better to look than to take a service for a
            // stranger.
            if looks.count < Limits.unitLookUsers { looks[uid] = 1 }
            return true
        }
        guard had < most else { return false }
        looks[uid] = had + 1
        return true
    }
}
