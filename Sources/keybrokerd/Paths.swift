// The paths of the policy, the socket and the log, for the system's daemon and for a user's own daemon.
//
// Must never mix the two: a user's daemon uses no file from the system's places.

internal import Kernel
internal import PolicyLoading
internal import NameLookup

/// The paths of one instance.
struct Paths {
    private let options: Options
    private let owners: TrustedOwners
    private let servesSystem: Bool

    /// A path that has no default. The description names the option that sets it.
    struct Unknown: Error { let description: String }

    /// - Parameter servesSystem: true if started as root, or with the right to read any file, as a service manager
    ///   does.
    init(_ options: Options, owners: TrustedOwners, servesSystem: Bool) {
        self.options = options
        self.owners = owners
        self.servesSystem = servesSystem
    }

    func policy(names: NameService) throws(Unknown) -> PolicyFiles {
        if !options.policies.isEmpty {
            // The paths are absolute, because the audit log names policy lines by them.
            var paths: [String] = []
            for path in options.policies { paths.append(try Self.inFull(path)) }
            return PolicyFiles(paths, owners: owners, names: names)
        }
        if servesSystem { return .standard(in: "/etc/keybroker", owners: owners, names: names) }
        let config = try Self.path("XDG_CONFIG_HOME", inHome: ".config", option: "--policy")
        return .standard(in: "\(config)/keybroker", owners: owners, names: names)
    }

    /// The path of the socket. It is needed only if the service manager passes no socket.
    func socket() throws(Unknown) -> String {
        if let given = options.socket { return try Self.inFull(given) }
        if servesSystem { return "/run/keybroker/broker.sock" }
        return try Self.path("XDG_RUNTIME_DIR", inHome: nil, option: "--socket") + "/keybroker/broker.sock"
    }

    /// The path of the socket for credentials, or nil if the command line names none.
    func credentialSocket() throws(Unknown) -> String? {
        guard let given = options.credentialSocket else { return nil }
        return try Self.inFull(given)
    }

    func audit() throws(Unknown) -> String {
        if let given = options.audit { return try Self.inFull(given) }
        if servesSystem { return "/var/log/keybroker/audit.jsonl" }
        return try Self.path("XDG_STATE_HOME", inHome: ".local/state", option: "--audit") + "/keybroker/audit.jsonl"
    }

    private static func inFull(_ path: String) throws(Unknown) -> String {
        do { return try absolutePath(path) } catch { throw Unknown(description: error.description) }
    }

    private static func path(_ variable: String, inHome path: String?, option: String) throws(Unknown) -> String {
        if let directory = environment(variable), directory.hasPrefix("/") { return directory }
        if let path, let home = environment("HOME"), home.hasPrefix("/") { return "\(home)/\(path)" }
        throw Unknown(description: "$\(variable) is not set; say where with \(option) PATH")
    }
}
