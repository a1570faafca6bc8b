// What the environment says of the sockets that a service manager passes on (sd_listen_fds(3)).
//
// Must never look at a descriptor: what is said here may be wrong. Must never take what was said to another process.

internal import Glibc

/// The sockets that `LISTEN_FDS` and `LISTEN_FDNAMES` announce to this process.
package struct AnnouncedSockets: Equatable, Sendable {
    /// One or two.
    package let count: Int
    /// The `FileDescriptorName=` of each. Nil if the manager gives no names.
    private let names: [String]?

    /// The `FileDescriptorName=` of the socket to which the service manager connects.
    package static let credentialName = "credential"

    /// Nil if nothing is announced, or to another process. Fails with `EINVAL` if the number is malformed, or not one
    /// that this daemon can use.
    /// - Parameters:
    ///   - variable: the value of a variable of the environment.
    ///   - process: the pid of this process.
    package init?(_ variable: (String) -> String?, process: Int32) throws(Failure) {
        guard let text = variable("LISTEN_FDS"), variable("LISTEN_PID") == String(process) else { return nil }
        guard let count = text == "1" ? 1 : text == "2" ? 2 : nil else {
            throw Failure("LISTEN_FDS", code: EINVAL, on: "(\(text) sockets; one or two are expected)")
        }
        self.count = count
        names = variable("LISTEN_FDNAMES")?.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    }

    /// Fails with `EINVAL` if the socket has another name than that for credentials. The name shows that a stream socket
    /// is meant for this. A name is missing only if the manager gives none.
    package func expectCredential(at index: Int) throws(Failure) {
        guard let names else { return }
        let name = names.indices.contains(index) ? names[index] : ""
        guard name == Self.credentialName else {
            throw Failure(
                "LISTEN_FDNAMES", code: EINVAL,
                on: "(a stream socket named '\(name)'; FileDescriptorName=\(Self.credentialName) is expected)")
        }
    }
}
