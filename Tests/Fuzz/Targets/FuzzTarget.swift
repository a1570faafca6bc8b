// The parsers of bytes from outside, each as a function that takes any bytes, and what must be true of them.
//
// Must never depend on anything but the bytes: a failure has to be repeatable. Must never reach a socket or a file that
// is not its own.

/// A parser, or several for the same bytes. The name is that of its folder in `Tests/Fuzz/Corpus`.
package enum FuzzTarget: String, CaseIterable, Sendable {
    case packets, channels, policy, environment
    case auditReader = "audit-reader"
    case credentialAddress = "credential-address"
    case logRecovery = "log-recovery"

    /// Parses the bytes. Throws if something is not true that must be.
    package func run(_ bytes: [UInt8]) throws(Broken) {
        switch self {
        case .packets: try tryPackets(bytes)
        case .channels: try tryChannels(bytes)
        case .policy: try tryPolicy(bytes)
        case .environment: try tryEnvironment(bytes)
        case .auditReader: try tryAuditReader(bytes)
        case .credentialAddress: try tryCredentialAddress(bytes)
        case .logRecovery: try tryLogRecovery(bytes)
        }
    }

    /// The same for libFuzzer, which takes the end of the process for a failure.
    package func runOrStop(_ bytes: [UInt8]) {
        do throws(Broken) { try run(bytes) } catch { fatalError(error.description) }
    }
}

/// Something that must be true of any bytes is not.
package struct Broken: Error, CustomStringConvertible {
    package let description: String
}

func require(_ condition: Bool, _ rule: @autoclosure () -> String) throws(Broken) {
    if !condition { throw Broken(description: "this must be true: \(rule())") }
}

func isPrintable(_ bytes: some Sequence<UInt8>) -> Bool { bytes.allSatisfy { (0x20...0x7E).contains($0) } }
