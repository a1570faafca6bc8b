// Where the policy, the socket and the log are, for the system's daemon and for a user's own.
//
// Must never mix the two: a user's daemon takes nothing from places that are the system's.

internal import Kernel
internal import PolicyLoading

/// The paths of one instance.
struct Places {
    let policy: PolicyFiles
    let socket: String
    let audit: String

    /// What cannot be guessed, and which option says it.
    struct Unknown: Error { let description: String }

    /// - Parameter servesSystem: started as root, or with the right to read any file, as by a service manager.
    init(_ options: Options, owners: TrustedOwners, servesSystem: Bool) throws(Unknown) {
        if !options.policies.isEmpty {
            policy = PolicyFiles(options.policies, owners: owners)
        } else {
            let directory =
                servesSystem
                ? "/etc/keybroker"
                : try Self.place("XDG_CONFIG_HOME", inHome: ".config", option: "--policy") + "/keybroker"
            policy = .standard(in: directory, owners: owners)
        }
        if let given = options.socket {
            socket = given
        } else if servesSystem {
            socket = "/run/keybroker/broker.sock"
        } else {
            socket = try Self.place("XDG_RUNTIME_DIR", inHome: nil, option: "--socket") + "/keybroker/broker.sock"
        }
        if let given = options.audit {
            audit = given
        } else if servesSystem {
            audit = "/var/log/keybroker/audit.jsonl"
        } else {
            audit =
                try Self.place("XDG_STATE_HOME", inHome: ".local/state", option: "--audit") + "/keybroker/audit.jsonl"
        }
    }

    private static func place(_ variable: String, inHome path: String?, option: String) throws(Unknown) -> String {
        if let directory = environment(variable), directory.hasPrefix("/") { return directory }
        if let path, let home = environment("HOME"), home.hasPrefix("/") { return "\(home)/\(path)" }
        throw Unknown(description: "$\(variable) is not set; say where with \(option) PATH")
    }
}
