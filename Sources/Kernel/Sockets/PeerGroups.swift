// Picks those groups of a peer that the policy names. A peer can have up to 65,536.
//
// Must never cost more than one sort of the peer's list and a binary search for each element of the shorter list.

/// The supplementary groups of a peer (`SO_PEERGROUPS`) that somebody asked for.
package struct PeerGroups: Equatable, Sendable {
    /// Sorted.
    package let named: [UInt32]
    /// The number of further groups.
    package let others: Int

    package init(named: [UInt32], others: Int) {
        self.named = named
        self.others = others
    }
}

extension PeerGroups {
    /// Searches the longer list for each element of the shorter one. The kernel sorts groups by its own numbers. In a
    /// user namespace their order can differ, so they are sorted here again; a list that is sorted already costs one
    /// pass.
    init(among wanted: [UInt32], of groups: Span<UInt32>) {
        guard !wanted.isEmpty else {
            self.init(named: [], others: groups.count)
            return
        }
        let sorted = groups.indices.map { groups[$0] }.sorted()
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
