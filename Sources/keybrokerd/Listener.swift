// The socket to which callers connect, with its directory, owner and mode.
//
// Must never remove anything except a stale socket of its own. Must never listen at a path where others could put
// another socket, or take the place of an instance that is alive.

internal import Kernel
internal import Wire

/// A listening socket, and the lock that belongs to it.
struct Listener: ~Copyable {
    let socket: SeqpacketSocket
    /// The lock on the socket's path, or nil if the service manager made the socket.
    private let claim: LockFile?
    let path: String?
    /// Whether the kernel refuses descriptors on connections that were made since this process has the socket.
    let refusesDescriptors: Bool

    var description: String { path ?? "the service manager's socket" }
    /// True if the service manager owns the socket, so that callers can wait in it for another daemon.
    var outlivesTheDaemon: Bool { path == nil }

    /// Takes over the service manager's socket, or makes one.
    /// - Parameters:
    ///   - inherited: the service manager's socket, if there is one.
    ///   - path: the path of the socket. It is evaluated only if a socket must be made.
    ///   - group: the group that may connect, used only then. Nil leaves the group as it is.
    static func begun(
        _ inherited: consuming SeqpacketSocket?, at path: @autoclosure () throws(Exit) -> String, mode: UInt32,
        owners: TrustedOwners,
        group: @autoclosure () throws(Exit) -> UInt32?
    ) throws(Exit) -> Listener {
        if let inherited {
            let refuses = inherited.refuseDescriptors()
            return Listener(socket: inherited, claim: nil, path: nil, refusesDescriptors: refuses)
        }
        let (path, group) = (try path(), try group())
        let claim = try claimed(path, owners: owners) { path throws(Failure) in
            _ = try SeqpacketSocket.connected(to: path)
        }
        // Nobody can connect before `listen(2)`. Until then everybody is told that nobody listens (ECONNREFUSED), for which
        // clients wait, not that they may not connect (EACCES), which they take for final. So mode and group are
        // set between the two, and the mode last.
        let socket = try Exit.onFailure(
            try withoutUmask { () throws(Failure) in try SeqpacketSocket.bound(to: path) })
        if let group { try Exit.onFailure(try setOwner(path, uid: nil, gid: group)) }
        try Exit.onFailure(try setMode(path, mode))
        let refuses = socket.refuseDescriptors()
        try Exit.onFailure(try socket.listen(backlog: Limits.backlog))
        return Listener(socket: socket, claim: claim, path: path, refusesDescriptors: refuses)
    }

    /// Makes sure that a socket can be made at `path`: that nobody else can put one there, and that no other instance
    /// or program has one. Returns the lock that keeps it so.
    /// - Parameter connect: connects to the socket that is there, to find out whether somebody listens.
    static func claimed(
        _ path: String, owners: TrustedOwners, connect: (String) throws(Failure) -> Void
    ) throws(Exit) -> LockFile {
        try makeDirectory(above: path, owners: owners)
        do throws(TrustError) { try owners.checkDirectories(above: path) } catch {
            throw Exit(.system, "the socket cannot be at \(path): \(error)")
        }
        let claim = try Exit.onFailure(try LockFile.claimed(path + ".lock"))
        guard let claim else { throw Exit(.busy, "another keybrokerd serves \(path)") }
        try removeStaleSocket(path, owners: owners, connect)
        return claim
    }

    /// Makes the directory of the socket, which nobody else can list. The directories above it must exist.
    private static func makeDirectory(above path: String, owners: TrustedOwners) throws(Exit) {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return }
        let directory = String(path[..<slash])
        do throws(TrustError) { try owners.checkDirectories(above: directory) } catch {
            throw Exit(.system, "the socket cannot be at \(path): \(error)")
        }
        _ = try Exit.onFailure(try Kernel.makeDirectory(directory, mode: Privileges.isRoot ? 0o711 : 0o700))
    }

    private static func removeStaleSocket(
        _ path: String, owners: TrustedOwners, _ connect: (String) throws(Failure) -> Void
    ) throws(Exit) {
        let status = try Exit.onFailure(try statusWithoutFollowing(path))
        guard let status else { return }
        guard status.kind == .socket, owners.contains(status.owner) else {
            throw Exit(
                .system,
                "there is something at \(path) that is no socket of this daemon's; move it away, "
                    + "or choose another place with --socket")
        }
        do throws(Failure) { try connect(path) } catch {
            if error.code == Failure.connectionRefused {
                try Exit.onFailure(try removeFile(path))
                return
            }
            throw Exit(.busy, "whether somebody listens at \(path) cannot be told: \(error)")
        }
        throw Exit(.busy, "another program listens at \(path)")
    }

    /// Lets another process claim the path. The socket is removed if the account that the daemon has become may do that.
    /// It may not in root's directory: there the dead socket stays until the next start, which need not wait for the end
    /// of this process.
    borrowing func removeSocket() {
        // The service manager's stays, and so do those who wait in it.
        guard let path else { return }
        socket.listenNoMore()
        Self.leave(path, claim)
    }

    /// Removes the file of a socket on which nobody listens any more, and lets another process claim its path.
    ///
    /// unlink(2) waits for the directory, also if it then fails, and whoever may list a directory can keep it busy
    /// (ARCHITECTURE.md, "What may hang"). So it is tried only in a directory that is the daemon's own.
    static func leave(_ path: String, _ claim: borrowing LockFile?) {
        let status = (try? statusFollowing(folder(of: path))) ?? nil
        if let status, status.owner == Privileges.effectiveUID, !status.isReadableByOthers { try? removeFile(path) }
        switch claim {
        case .some(let claim): claim.release()
        case .none: break
        }
    }
}
