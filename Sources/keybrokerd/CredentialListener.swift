// The socket to which the service manager connects to load credentials, with its owner and mode.
//
// Must never be one that anybody but root can connect to. Must never remove anything except a stale socket of its own.

internal import Kernel
internal import Wire

/// A listening socket, and the lock that belongs to it.
struct CredentialListener: ~Copyable {
    let socket: CredentialSocket
    /// The lock on the socket's path, or nil if the service manager made the socket.
    private let claim: LockFile?
    let path: String?

    /// Takes over the service manager's socket, or makes one at `path`. Nil if there is neither.
    static func begun(
        _ inherited: consuming CredentialSocket?, at path: String?, owners: TrustedOwners
    ) throws(Exit) -> CredentialListener? {
        if let inherited {
            inherited.refuseDescriptors()
            return CredentialListener(socket: inherited, claim: nil, path: nil)
        }
        guard let path else { return nil }
        guard Privileges.isRoot else {
            throw Exit(.usage, "only root can serve the service manager with --credential-socket")
        }
        let claim = try Listener.claimed(path, owners: owners) { path throws(Failure) in
            try CredentialSocket.connect(to: path)
        }
        let socket = try Exit.onFailure(try CredentialSocket.bound(to: path))
        // The mode is set before `listen(2)`. The owner is root, who makes the socket.
        try Exit.onFailure(try setMode(path, 0o600))
        socket.refuseDescriptors()
        try Exit.onFailure(try socket.listen(backlog: Limits.backlog))
        return CredentialListener(socket: socket, claim: claim, path: path)
    }

    /// Removes the socket if the account that the daemon has become may do that.
    borrowing func removeSocket() {
        guard let path else { return }
        socket.listenNoMore()
        Listener.leave(path, claim)
    }
}
