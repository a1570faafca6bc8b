// How much a caller may use: the `limit` lines, and the defaults.
//
// Must never count a line about another account.

/// The limits that a `limit` line sets for each uid. Nil if it does not set one.
package struct Bounds: Equatable, Sendable {
    /// How many connections at the same time.
    package var connections: Int?
    /// How many requests per second.
    package var requests: Int?

    package init(connections: Int? = nil, requests: Int? = nil) {
        self.connections = connections
        self.requests = requests
    }
}

extension Policy {
    /// The limits of `caller`. Each one comes from the line about its uid, or else from the most generous line about
    /// one of its groups, or else from the line about each user.
    package func bounds(for caller: Caller) -> Bounds {
        func bound(_ which: KeyPath<Bounds, Int?>) -> Int? {
            if let uid = caller.uid, let number = bounds(of: .user(uid))?[keyPath: which] { return number }
            let ofGroups = caller.uid == nil ? [] : caller.groups.compactMap { bounds(of: .group($0))?[keyPath: which] }
            return ofGroups.max() ?? defaultBounds[keyPath: which]
        }
        return Bounds(connections: bound(\.connections), requests: bound(\.requests))
    }

    /// The range of the limit of connections as long as the user's groups are not known.
    package func possibleConnections(ofUser uid: UInt32?, otherwise: Int) -> ClosedRange<Int> {
        possible(\.connections, ofUser: uid, connectionsOfGroups, otherwise)
    }

    /// The range of the limit of requests per second as long as the user's groups are not known.
    package func possibleRequests(ofUser uid: UInt32?, otherwise: Int) -> ClosedRange<Int> {
        possible(\.requests, ofUser: uid, requestsOfGroups, otherwise)
    }

    private func possible(
        _ which: KeyPath<Bounds, Int?>, ofUser uid: UInt32?, _ ofGroups: ClosedRange<Int>?, _ otherwise: Int
    ) -> ClosedRange<Int> {
        if let uid, let number = bounds(of: .user(uid))?[keyPath: which] { return number...number }
        let number = defaultBounds[keyPath: which] ?? otherwise
        guard uid != nil, let ofGroups else { return number...number }
        return min(number, ofGroups.lowerBound)...max(number, ofGroups.upperBound)
    }
}
