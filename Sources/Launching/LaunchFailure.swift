// Why a command is not run, and the exit status for it.

internal import KeyBrokerClient

/// The end of `keybroker exec` before its command runs.
package struct LaunchFailure: Error, Equatable, Sendable {
    /// As in keybroker(1).
    package let status: Int32
    package let description: String
    /// Whether it may be the moment in which somebody replaces the files.
    let isPassing: Bool

    init(status: Int32, _ description: String, isPassing: Bool = false) {
        self.status = status
        self.description = description
        self.isPassing = isPassing
    }

    static func empty(_ description: String) -> LaunchFailure {
        LaunchFailure(status: empty, description, isPassing: true)
    }

    init(_ error: KeyBrokerError) { self.init(status: error.exitStatus, error.description) }

    /// As in keybroker(1).
    package static let usage: Int32 = 64
    static let unmatched: Int32 = 65, empty: Int32 = 66, missing: Int32 = 69
    static let system: Int32 = 71, denied: Int32 = 77
    /// As env(1) has them.
    static let notExecutable: Int32 = 126, notFound: Int32 = 127
}
