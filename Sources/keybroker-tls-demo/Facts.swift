// Facts about the server that hold as long as it has this key, and how many handshakes a lent key has signed. Its page and
// its JSON show them.
//
// Must never hold a byte of the key: the fingerprint is of its public half.

final class Facts {
    /// A name for JSON, a label for people, and the value.
    typealias Row = (field: String, label: String, value: String)

    /// Whether the key stays with the broker.
    let isLent: Bool
    private let rows: [Row]
    /// Handshakes that this key has signed here.
    private var signed = 0

    init(_ options: Options, _ runningAs: RunningAs, _ attempt: KeyPathAttempt, _ identity: Identity) {
        let groups = runningAs.groups.map(String.init).joined(separator: ", ")
        isLent = identity.otherMessage != nil
        var rows: [Row] = [
            ("account", "runs as", runningAs.description),
            ("gid", "group", String(runningAs.gid)),
            ("groups", "supplementary groups", groups.isEmpty ? "none" : groups),
            ("key", "key", options.key),
            ("key_path", "the key's path", attempt.description),
            ("decision", "decision of the broker", String(identity.decision)),
            ("kind", "kind of key", identity.kind),
            ("fingerprint", "public key, SHA-256", identity.fingerprint),
        ]
        if let otherMessage = identity.otherMessage {
            rows += [
                ("private_key", "the private key", "stays with the broker; this process never had it"),
                ("other_message", "a message that is no handshake", otherMessage),
            ]
        }
        self.rows = rows
    }

    /// Counts a handshake that is done.
    func noteHandshake() { signed += 1 }

    /// The rows in the order in which they are shown, and one about this connection.
    func rows(cipher: String) -> [Row] {
        let counted: [Row] = isLent ? [("signed_handshakes", "handshakes signed there", "\(signed)")] : []
        return rows + counted + [("connection", "this connection", cipher)]
    }
}
