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
        var bounds = defaultBounds
        guard let uid = caller.uid else { return bounds }
        var ofGroups = Bounds()
        for group in caller.groups {
            guard let more = self.bounds(of: .group(group)) else { continue }
            ofGroups.connections = [ofGroups.connections, more.connections].compactMap(\.self).max()
            ofGroups.requests = [ofGroups.requests, more.requests].compactMap(\.self).max()
        }
        let ofUser = self.bounds(of: .user(uid))
        bounds.connections = ofUser?.connections ?? ofGroups.connections ?? bounds.connections
        bounds.requests = ofUser?.requests ?? ofGroups.requests ?? bounds.requests
        return bounds
    }

    /// How many connections it may be while it is not known which groups the user is in.
    package func possibleConnections(ofUser uid: UInt32?, otherwise: Int) -> ClosedRange<Int> {
        possible(
            uid.flatMap { bounds(of: .user($0))?.connections }, uid, connectionsOfGroups,
            defaultBounds.connections ?? otherwise)
    }

    /// How many requests a second it may be while it is not known which groups the user is in.
    package func possibleRequests(ofUser uid: UInt32?, otherwise: Int) -> ClosedRange<Int> {
        possible(
            uid.flatMap { bounds(of: .user($0))?.requests }, uid, requestsOfGroups, defaultBounds.requests ?? otherwise)
    }

    private func possible(
        _ ofUser: Int?, _ uid: UInt32?, _ ofGroups: ClosedRange<Int>?, _ otherwise: Int
    ) -> ClosedRange<Int> {
        if let ofUser { return ofUser...ofUser }
        guard uid != nil, let ofGroups else { return otherwise...otherwise }
        return min(otherwise, ofGroups.lowerBound)...max(otherwise, ofGroups.upperBound)
    }
}
