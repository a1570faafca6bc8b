// The command line of keybrokerd, and the default of each option.
//
// Must never guess: an unknown option, or one without a value, ends the program before it does anything.

internal import Kernel
internal import Wire

/// The options that the daemon was started with.
struct Options {
    var policies: [String] = []
    var socket: String?
    var socketGroup: String?
    var socketMode: UInt32?
    var credentialSocket: String?
    var audit: String?
    var auditSyncs = true
    var user: String?
    var signer: String?
    var maxConnections = Limits.connections

    /// What the command line asks the program to do.
    enum Request {
        case serve(Options)
        case help
        case version
    }

    /// A mistake in the command line, described in one line.
    struct Fault: Error { let description: String }

    static func request(_ arguments: [String]) throws(Fault) -> Request {
        var options = Options()
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = argument.hasPrefix("--") ? String(parts[0]) : argument
            var inline = argument.hasPrefix("--") && parts.count == 2 ? String(parts[1]) : nil
            func value() throws(Fault) -> String {
                guard let value = inline.take() ?? rest.popFirst(), !value.isEmpty else {
                    throw Fault(description: "\(name) needs a value")
                }
                return value
            }
            switch name {
            case "--help", "-h": return .help
            case "--version": return .version
            case "--policy": options.policies.append(try value())
            case "--socket": options.socket = try value()
            case "--socket-group": options.socketGroup = try value()
            case "--socket-mode": options.socketMode = try mode(try value())
            case "--credential-socket": options.credentialSocket = try value()
            case "--audit": options.audit = try value()
            case "--audit-sync":
                switch try value() {
                case "always": options.auditSyncs = true
                case "never": options.auditSyncs = false
                case let other: throw Fault(description: "--audit-sync is 'always' or 'never', not '\(other)'")
                }
            case "--user": options.user = try value()
            case "--signer": options.signer = try value()
            case "--max-connections":
                let text = try value()
                guard let number = decimal(text), Limits.policyConnections.contains(number) else {
                    throw Fault(
                        description: "--max-connections is a number from 1 to "
                            + "\(Limits.policyConnections.upperBound), not '\(text)'")
                }
                options.maxConnections = number
            default:
                throw Fault(description: "unknown \(argument.hasPrefix("-") ? "option" : "argument") '\(argument)'")
            }
            guard inline == nil else { throw Fault(description: "\(name) takes no value") }
        }
        return .serve(options)
    }

    private static func mode(_ text: String) throws(Fault) -> UInt32 {
        guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x37).contains($0) }), let mode = UInt32(text, radix: 8),
            mode <= 0o777
        else { throw Fault(description: "--socket-mode is an octal number such as 0660, not '\(text)'") }
        return mode
    }

    static let help = """
        USAGE: keybrokerd [OPTION]...

        Hands open private keys to the services that a policy permits to have them, and records every decision.
        Started as root it serves the whole machine and becomes an account of its own; started by another user
        it serves that user's own keys.

          --policy PATH           a policy file, or a directory of *.policy files; may be repeated
                                  (/etc/keybroker/keybroker.policy, then /etc/keybroker/policy.d)
          --socket PATH           where to listen (/run/keybroker/broker.sock), unless the service manager hands
                                  a socket over
          --socket-group GROUP    who may connect (keyusers), a name or a number
          --socket-mode OCTAL     the socket's mode (0660)
          --credential-socket PATH
                                  where root's service manager loads credentials of units (LoadCredential=);
                                  nowhere, unless it hands a socket over
          --audit PATH            the audit log (/var/log/keybroker/audit.jsonl)
          --audit-sync WHEN       'always' (the default): a record is on disk before its key leaves; 'never':
                                  it is written, and the system puts it on disk in its own time
          --user USER             the account to become when started as root (keybroker), a name or a number
          --signer PATH           the program that signs with keys that are lent (keybroker-signer, beside this
                                  program or in ../lib/keybroker), or 'none'
          --max-connections N     connections at a time, all callers together (\(Limits.connections))
          --version               print the version
          --help                  print this

        An ordinary user's defaults: $XDG_CONFIG_HOME/keybroker, $XDG_RUNTIME_DIR/keybroker/broker.sock with mode
        0600, $XDG_STATE_HOME/keybroker/audit.jsonl.

        SIGHUP reads the policy anew and reopens the audit log; SIGTERM and SIGINT end the daemon.
        Exit status: 0 done, 64 usage, 71 system error, 74 the audit log cannot be used, 75 another instance
        runs, 77 not permitted, 78 the policy is faulty.
        """
}
