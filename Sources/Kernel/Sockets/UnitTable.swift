// The units of the control groups that callers came from, so that /proc/PID/cgroup is read once for each group.
//
// The kernel numbers each control group, and says the number of a process's group. It gives no number twice, and a group
// of cgroup2 is never renamed or moved, so what was once read for a number stays true. Must never remember a unit for a
// group if the process may have been in another one when its unit was read. Must never grow beyond a bound: whoever may
// make control groups can come from any number of them.

/// Units by the number of the control group.
package final class UnitTable {
    private var units: [UInt64: String?] = [:]

    /// How many control groups are remembered.
    private static let most = 1024

    package init() {}

    var count: Int { units.count }

    /// The unit of a process in this group: nil if it is in none. The result is nil if the group is not known yet.
    func unit(inGroup number: UInt64) -> String?? { units[number] }

    func remember(_ unit: String?, ofGroup number: UInt64) {
        // The groups that are in use are known again after one look each.
        if units.count >= Self.most { units.removeAll(keepingCapacity: true) }
        units[number] = .some(unit)
    }
}
