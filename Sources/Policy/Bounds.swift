// How much a caller may use: the `limit` lines, and the defaults.
//
// Must never count a line about another account.

/// The limits that a `limit` line sets for each uid. Nil if it does not set one.
package struct Bounds: Equatable, Sendable {
    /// How many connections at the same time.
    package var connections: Int?
    /// How many requests per second.
    package var requests: Int?
    /// How many watches at the same time.
    package var watches: Int?
    /// How many signing channels at the same time.
    package var channels: Int?
    /// How many signatures per second, on each channel.
    package var signatures: Int?

    package init(
        connections: Int? = nil, requests: Int? = nil, watches: Int? = nil, channels: Int? = nil,
        signatures: Int? = nil
    ) {
        self.connections = connections
        self.requests = requests
        self.watches = watches
        self.channels = channels
        self.signatures = signatures
    }

    /// Chooses each limit from this one and the other's.
    fileprivate mutating func combine(_ other: Bounds, _ choose: (Int?, Int?) -> Int?) {
        connections = choose(connections, other.connections)
        requests = choose(requests, other.requests)
        watches = choose(watches, other.watches)
        channels = choose(channels, other.channels)
        signatures = choose(signatures, other.signatures)
    }
}

extension Policy {
    /// The limits of `caller`. Each one comes from the line about its uid, or else from the most generous line about
    /// one of its groups, or else from the line about each user.
    package func bounds(for caller: Caller) -> Bounds {
        var bounds = defaultBounds
        guard let uid = caller.uid else { return bounds }
        var ofGroups = Bounds()
        for group in caller.groups {
            guard let more = self.bounds(of: .group(group)) else { continue }
            ofGroups.combine(more) { [$0, $1].compactMap(\.self).max() }
        }
        bounds.combine(ofGroups) { $1 ?? $0 }
        if let ofUser = self.bounds(of: .user(uid)) { bounds.combine(ofUser) { $1 ?? $0 } }
        return bounds
    }

    /// The range of the limit of connections as long as the user's groups are not known.
    package func possibleConnections(ofUser uid: UInt32?, otherwise: Int) -> ClosedRange<Int> {
        possible(
            uid.flatMap { bounds(of: .user($0))?.connections }, uid, connectionsOfGroups,
            defaultBounds.connections ?? otherwise)
    }

    /// The range of the limit of requests per second as long as the user's groups are not known.
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
