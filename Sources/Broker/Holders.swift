// The answer to the verb R: who watches which key, or signs with it, and which content each of them has. keybrokerd(8)
// explains the lines.
//
// Must never go to anybody but an administrator. Must never say that a connection has a content that it has not read.

internal import Kernel
internal import Policy
internal import PolicyLoading
internal import Wire

extension Broker {
    /// Bytes reserved for the line that says where the next page begins.
    private static let roomForMore = KeyName.longest + 32

    /// A line for each key that is watched or lent, and after it a line for each connection that watches it and for each
    /// signing channel. If the query names a key, the page begins with that key, whoever has it.
    func holders(from query: RotationQuery) -> StatusPage {
        noteReadReplies()
        var page = StatusPage()
        var last = query
        for name in names(from: query) {
            let key = rotations.keys[name]
            let after = name == query.key ? query.after : 0
            if after == 0 {
                guard page.add(.rotation, line(name, key), keeping: Self.roomForMore) else {
                    return page.more(from: last)
                }
                last = RotationQuery(name)
            }
            let watching = (key?.watches ?? [:]).map { number, watch in
                (number, StatusName.holder, watch.read.map(String.init) ?? "none", watch.client)
            }
            let signing = (key?.channels ?? [:]).map { number, channel in
                (number, StatusName.channel, String(channel.generation), channel.client)
            }
            // The numbers of channels are greater than those of connections.
            for (number, kind, generation, client) in (watching + signing).sorted(by: { $0.0 < $1.0 })
            where number > after {
                let line = "\(name) \(number) generation \(generation) \(client.peer.words)"
                guard page.add(kind, line, keeping: Self.roomForMore) else { return page.more(from: last) }
                last = RotationQuery(name, after: number)
            }
        }
        return page
    }

    private func names(from query: RotationQuery) -> [KeyName] {
        let watched = rotations.keys.filter { $0.value.isHeld }.keys
        guard let first = query.key else { return watched.sorted() }
        let later = watched.filter { first < $0 }.sorted()
        return policy.policy.declares(first) ? [first] + later : later
    }

    private func line(_ name: KeyName, _ key: WatchedKey?) -> String {
        let state = rotations.isSettling ? "settling" : key?.fault == nil ? "settled" : "unavailable"
        return "\(name) generation \(key?.generation ?? 0) \(state)"
    }
}

extension StatusPage {
    fileprivate func more(from query: RotationQuery) -> StatusPage {
        var page = self
        page.add(.more, query)
        return page
    }
}

extension Peer {
    /// "uid 33 pid 812 unit nginx.service", without what is not known.
    fileprivate var words: String {
        let known = [
            "uid \(uid)", pid.map { "pid \($0)" }, unit.map { "unit \($0)" },
        ]
        return known.compactMap(\.self).joined(separator: " ")
    }
}
