// How many ends of channels there are, in both loops together.
//
// Must never let one account take the places of the others.

internal import Synchronization
internal import Wire

final class Places: Sendable {
    private struct Taken {
        var all = 0
        var ofAccounts: [UInt32: Int] = [:]
    }

    private let most: Int
    private let taken = Mutex(Taken())

    /// - Parameter most: how many ends there can be.
    init(_ most: Int) { self.most = most }

    /// Takes a place for one more end of the account's channels. Nil if there is none.
    func take(for account: UInt32) -> Place? {
        let isTaken = taken.withLock { taken in
            let own = taken.ofAccounts[account, default: 0]
            guard taken.all < most, own < Limits.channelEndsPerUser else { return false }
            taken.all += 1
            taken.ofAccounts[account] = own + 1
            return true
        }
        return isTaken ? Place(places: self, account: account) : nil
    }

    fileprivate func giveBack(_ account: UInt32) {
        taken.withLock { taken in
            taken.all -= 1
            let others = taken.ofAccounts[account, default: 1] - 1
            taken.ofAccounts[account] = others > 0 ? others : nil
        }
    }
}

/// The place of one end. It is given back when its owner goes away.
struct Place: ~Copyable, Sendable {
    fileprivate let places: Places
    fileprivate let account: UInt32

    deinit { places.giveBack(account) }
}
