// How much a caller may use up: the `limit` lines, and what holds without one.
//
// Must never let a line about another account count.

/// What a `limit` line says, per uid; nil where it says nothing.
package struct Bounds: Equatable, Sendable {
    /// At a time.
    package var connections: Int?
    /// Per second.
    package var requests: Int?

    package init(connections: Int? = nil, requests: Int? = nil) {
        self.connections = connections
        self.requests = requests
    }
}

extension Policy {
    /// What lines say of `caller`: for each bound the line about its uid, else the most generous one about a group
    /// of its, else the one about each user.
    package func bounds(for caller: Caller) -> Bounds {
        func bound(_ which: KeyPath<Bounds, Int?>) -> Int? {
            if let uid = caller.uid, let number = bounds(of: .user(uid))?[keyPath: which] { return number }
            let ofGroups = caller.uid == nil ? [] : caller.groups.compactMap { bounds(of: .group($0))?[keyPath: which] }
            return ofGroups.max() ?? defaultBounds[keyPath: which]
        }
        return Bounds(connections: bound(\.connections), requests: bound(\.requests))
    }

    /// How many connections it may be while it is not known which groups the user is in.
    package func possibleConnections(ofUser uid: UInt32?, otherwise: Int) -> ClosedRange<Int> {
        possible(\.connections, ofUser: uid, connectionsOfGroups, otherwise)
    }

    /// How many requests a second it may be while it is not known which groups the user is in.
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
