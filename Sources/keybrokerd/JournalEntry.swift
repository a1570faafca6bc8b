// Turns the record of a decision into an entry of the journal: a sentence for people, and fields to search by.
// keybrokerd(8) lists them.
//
// Must never tell more than the audit log. Must never make an entry for what a caller may ask as often as it likes.

internal import Audit
internal import Broker
internal import Kernel
internal import Wire

extension Recorded {
    /// `granted web-tls to uid 33 in nginx.service (decision 4711)`. Nil if the record is no decision on a caller, or
    /// one that nobody searches for: a list, a version or a status that was given.
    var sentence: String? {
        guard let decision = record.decision, let peer = record.peer else { return nil }
        if record.verb == .credential { return credentialSentence(decision) }
        if decision == .granted, record.key == nil { return nil }
        let what = record.key ?? record.verb?.rawValue ?? (record.event == .limit ? "a connection" : "a packet")
        let who = "uid \(peer.uid)" + (peer.unit.map { " in \(printable($0))" } ?? "")
        let why = [record.reason?.rawValue, record.detail.map(printable)].compactMap(\.self).joined(separator: ", ")
        let told =
            switch decision {
            case .granted: "granted \(what) to \(who)"
            case .denied: "denied \(what) to \(who): \(why)"
            default: "\(decision.rawValue): \(what) for \(who): \(why)"
            }
        return told + " (decision \(number))"
    }

    /// `granted web-tls as a credential to nginx.service (decision 4711)`. A refusal is an empty credential for the unit,
    /// so this sentence is what an admin finds.
    private func credentialSentence(_ decision: Record.Decision) -> String? {
        let to = record.peer?.unit.map(printable) ?? "uid \(record.peer?.uid ?? .max)"
        let what = record.key ?? "a key"
        guard decision != .granted else { return "granted \(what) as a credential to \(to) (decision \(number))" }
        let why = [record.reason?.rawValue, record.detail.map(printable)].compactMap(\.self).joined(separator: ", ")
        if record.of != nil { return "\(what) as a credential to \(to): \(why) (decision \(number))" }
        return "\(to) is given an empty credential: \(decision.rawValue) \(what): \(why) (decision \(number))"
    }

    /// Whether it is said on standard error too if that is not the journal.
    var isForEveryLog: Bool { record.verb == .credential && record.decision != .granted }

    var priority: Priority { record.decision == .granted ? .information : .warning }

    var fields: [Journal.Field] { record.fields + [.init("SEQ", number)] }
}

extension Record {
    /// The fields of an entry about the record. Its number counts only if the record is in the log.
    var fields: [Journal.Field] {
        var fields: [Journal.Field] = []
        if let key { fields.append(.init("KEY", key)) }
        if let uid = peer?.uid ?? uid { fields.append(.init("PEER_UID", uid)) }
        if let unit = peer?.unit { fields.append(.init("PEER_UNIT", printable(unit))) }
        if let pid = peer?.pid ?? pid { fields.append(.init("PEER_PID", pid)) }
        if let decision { fields.append(.init("DECISION", decision.rawValue)) }
        if let reason { fields.append(.init("REASON", reason.rawValue)) }
        return fields
    }
}
