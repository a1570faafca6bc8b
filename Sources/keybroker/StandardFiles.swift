// The policy and the log that the commands read if none is named: those of the system's daemon, or of the user's own one.
//
// One rule for all commands: keybroker(1), FILES. Must never leave a person in doubt about which of the two was read.

internal import Kernel
internal import KeyBrokerClient
internal import PolicyLoading

enum StandardFiles {
    /// The places of the own daemon of the user who runs this, as keybrokerd(8) has them.
    private struct Own {
        let policies: String
        /// Nil if the user has no such directory.
        let socket: String?
        let log: String?
    }

    /// Nil for root, whose daemon is the system's, and if the user has no home.
    private static let own: Own? = {
        func folder(_ variable: String, _ inHome: String?) -> String? {
            if let folder = environment(variable), folder.hasPrefix("/") { return "\(folder)/keybroker" }
            guard let inHome, let home = environment("HOME"), home.hasPrefix("/") else { return nil }
            return "\(home)/\(inHome)/keybroker"
        }
        guard !Privileges.isRoot, let policies = folder("XDG_CONFIG_HOME", ".config") else { return nil }
        return Own(
            policies: policies, socket: folder("XDG_RUNTIME_DIR", nil).map { "\($0)/broker.sock" },
            log: folder("XDG_STATE_HOME", ".local/state").map { "\($0)/audit.jsonl" })
    }()

    /// Whether the user's own daemon is meant: `KEYBROKER_SOCKET` names its socket; or it names none, and there is a
    /// directory for its policy.
    static let areOwn: Bool = {
        guard let own else { return false }
        if let named = environment("KEYBROKER_SOCKET"), !named.isEmpty { return named == own.socket }
        return ((try? statusFollowing(own.policies)) ?? nil)?.kind == .directory
    }()

    /// The policy of the system's daemon.
    static var ofSystem: PolicyFiles { .standard(in: "/etc/keybroker", owners: .ofService) }

    /// The policy of the user's own daemon. Nil if there can be none.
    static var ofUser: PolicyFiles? { own.map { .standard(in: $0.policies, owners: .now) } }

    static var policy: PolicyFiles { areOwn ? ofUser ?? ofSystem : ofSystem }

    static var log: String { areOwn ? own?.log ?? logOfSystem : logOfSystem }
    private static let logOfSystem = "/var/log/keybroker/audit.jsonl"

    /// The socket of the daemon whose files these are. Nil for the one that is asked if none is named.
    static var socket: String? { areOwn && environment("KEYBROKER_SOCKET") == nil ? own?.socket : nil }

    /// The directory for the policy of a user's own daemon, as the user can type it. Nil if there can be none.
    static var directoryOfUser: String? {
        own.map { own in
            own.policies == environment("HOME").map { "\($0)/.config/keybroker" } ? "~/.config/keybroker" : own.policies
        }
    }

    /// Says which file is read, if it is not the system's.
    static func say(_ what: String, _ path: String) {
        if areOwn { keybroker.say("keybroker: this is \(what) of your own broker, \(path)") }
    }

    /// What starts the daemon at this socket, if systemd does. Nil if it does not, or has no unit for it.
    static func start(_ socket: String) -> String? {
        let isOwn = socket == own?.socket
        guard isOwn || socket == KeyBroker.defaultSocketPath, isThere("/run/systemd/system") else { return nil }
        let folders =
            isOwn
            ? ["/etc/systemd/user", "/usr/lib/systemd/user"] : ["/etc/systemd/system", "/usr/lib/systemd/system"]
        guard folders.contains(where: { isThere("\($0)/keybrokerd.socket") }) else { return nil }
        return isOwn ? "systemctl --user enable --now keybrokerd.socket" : "systemctl enable --now keybrokerd.socket"
    }

    private static func isThere(_ path: String) -> Bool { ((try? statusFollowing(path)) ?? nil) != nil }

    /// What makes the daemon that reads `paths` begin anew.
    static func restart(reading paths: [String]) -> String {
        let isOwn = ofUser.map { $0.paths == paths } ?? false
        return "systemctl \(isOwn ? "--user " : "")restart keybrokerd"
    }
}
