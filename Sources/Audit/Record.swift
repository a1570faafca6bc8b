// The content of one record of the audit log.
//
// Must never leave out who asked, or which line of the policy decided, if that is known. Must never state what is not
// certain.

package import Kernel
package import Wire

/// One event that has no number yet.
package struct Record: Sendable {
    package enum Event: String, Sendable { case start, stop, reload, request, limit, channel }
    package enum Verb: String, Sendable { case get, credential, list, status, version, watch, rotation, sign }
    package enum Decision: String, Hashable, Sendable {
        case granted, denied, unavailable, busy, malformed
        /// The outcomes of a reload.
        case applied, rejected
    }

    package var event: Event
    package var verb: Verb?
    package var decision: Decision?
    package var reason: Reason?
    /// More detail for people, with paths and numbers. Nil if the reason says everything.
    package var detail: String?
    /// The name of the key that was asked for.
    package var key: String?
    /// The caller that asked.
    package var peer: Peer?
    /// The uid that the record is about, if no more is known: the sender of a signal, or a caller of folded records.
    package var uid: UInt32?
    package var pid: Int32?
    /// The unit of the callers that the record is about, if no more is known of them.
    package var unit: String?
    /// The name of the peer's user. Nil if the policy does not contain it.
    package var user: String?
    /// The line of the policy that permitted the request, as `FILE:LINE`.
    package var rule: String?
    /// SHA-256 of the policy in force, in hexadecimal digits.
    package var policy: String?
    /// The files whose descriptors were handed over.
    package var file: HandedOver?
    package var certificate: HandedOver?
    /// If the connection watches the key: how many rotations of it the daemon had seen.
    package var generation: UInt64?
    /// How many events of the same kind this record stands for.
    package var suppressed: Int?
    /// If the record says that a grant never reached its caller, or that a channel has ended: the number of the grant.
    package var of: UInt64?
    /// If the record grants a signing channel: for what the key signs.
    package var uses: SigningUses?
    /// If the record says that a channel has ended: what it was used for. Nil if that cannot be known.
    package var counts: ChannelCounts?
    /// Whether it says that a watch has ended. It is no field of its own.
    package var endsWatch = false

    package init(_ event: Event) { self.event = event }
}

/// A file whose descriptor was handed to a caller.
package struct HandedOver: Equatable, Sendable {
    package let path: String
    package let status: FileStatus

    package init(path: String, status: FileStatus) {
        self.path = path
        self.status = status
    }
}

extension Record {
    /// The longest texts from outside in bytes, and the most groups. The rest is cut. No part of a record may grow
    /// without a limit, so that a caller cannot make it longer than `longest`.
    private static let longestText = 512, longestDetail = 2048, mostGroups = 128
    /// The longest record in bytes, if every byte of every text is escaped.
    package static let longest = 64 * 1024

    /// The line up to `,"chain":`, which is not included.
    func line(number: UInt64, time: WallTime, previous: [UInt8]?) -> [UInt8] {
        var line: [UInt8] = []
        append(to: &line, number: number, time: time, previous: previous)
        return line
    }

    /// Appends the line up to `,"chain":`, which is not included.
    func append(to lines: inout [UInt8], number: UInt64, time: WallTime, previous: [UInt8]?) {
        // The object is to be the only one that has the bytes, so that they are not copied.
        var taken: [UInt8] = []
        swap(&taken, &lines)
        var line = JSONObject(after: consume taken)
        line.add("seq", number)
        line.add(plain: "time") { time.append(to: &$0) }
        line.add(plain: "event", event.rawValue)
        if let verb { line.add(plain: "verb", verb.rawValue) }
        if let decision { line.add(plain: "decision", decision.rawValue) }
        if let reason { line.add(plain: "reason", reason.rawValue) }
        if let detail { line.add("detail", detail, limit: Self.longestDetail) }
        if let key { line.add("key", key, limit: Self.longestText) }
        if let peer {
            line.add("uid", peer.uid)
            if let user { line.add("user", user, limit: Self.longestText) }
            line.add("gid", peer.gid)
            if let groups = peer.groups {
                let named = groups.named.prefix(Self.mostGroups)
                line.add("groups", named)
                let others = groups.others + groups.named.count - named.count
                if others > 0 { line.add("other-groups", others) }
            }
            if let pid = peer.pid { line.add("pid", pid) }
            if let comm = peer.comm { line.add("comm", comm, limit: Self.longestText) }
            if let unit = peer.unit { line.add("unit", unit, limit: Self.longestText) }
        } else {
            if let uid { line.add("uid", uid) }
            if let pid { line.add("pid", pid) }
            if let unit { line.add("unit", unit, limit: Self.longestText) }
        }
        if let rule { line.add("rule", rule, limit: Self.longestText) }
        if let words = uses?.words, !words.isEmpty { line.add(plain: "uses", words.joined(separator: " ")) }
        if let policy { line.add(plain: "policy", policy) }
        if let file { line.add("file") { file.add(to: &$0) } }
        if let certificate { line.add("certificate") { certificate.add(to: &$0) } }
        if let generation { line.add("generation", generation) }
        if let suppressed { line.add("suppressed", suppressed) }
        if let of { line.add("of", of) }
        if let counts {
            line.add("signatures", counts.signatures)
            line.add("refused", counts.refused)
            line.add("clones", counts.clones)
        }
        if let previous { line.add(plain: "previous") { $0.append(contentsOf: previous) } }
        lines = line.intoBytes()
    }
}

extension HandedOver {
    fileprivate func add(to line: inout JSONObject) {
        line.add("path", path, limit: 1024)
        line.add("dev", status.device)
        line.add("ino", status.inode)
        line.add("size", status.size)
        line.add(plain: "mtime") { status.modified.append(to: &$0) }
    }
}
