// Facts about the server that hold as long as it has this key. Its page and its JSON show them.
//
// Must never hold a byte of the key: the fingerprint is of its public half.

struct Facts {
    /// A name for JSON, a label for people, and the value.
    typealias Row = (field: String, label: String, value: String)

    private let rows: [Row]

    init(
        key: String, runningAs: RunningAs, attempt: KeyPathAttempt, decision: UInt64, kind: String, fingerprint: String
    ) {
        let groups = runningAs.groups.map(String.init).joined(separator: ", ")
        rows = [
            ("account", "runs as", runningAs.description),
            ("gid", "group", String(runningAs.gid)),
            ("groups", "supplementary groups", groups.isEmpty ? "none" : groups),
            ("key", "key", key),
            ("key_path", "the key's path", attempt.description),
            ("decision", "decision of the broker", String(decision)),
            ("kind", "kind of key", kind),
            ("fingerprint", "public key, SHA-256", fingerprint),
        ]
    }

    /// The rows in the order in which they are shown, and one about this connection.
    func rows(cipher: String) -> [Row] { rows + [("connection", "this connection", cipher)] }
}
