// The groups of a peer that somebody wants to know of, out of up to 65,536.
//
// Must never cost more than the shorter of the two lists is long, but for one pass.

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
