// The directories that the daemon may use after its start. Beside each stands what it is needed for.
//
// Must never permit more: an attacker who takes the daemon over has the same access.

internal import Kernel
internal import Wire

extension Sandbox {
    /// Restricts the process to what serving needs, no matter who started it.
    /// - Parameters:
    ///   - audit: the absolute path of the log.
    ///   - sockets: the absolute paths of the daemon's own sockets. Those of the service manager are not among them.
    ///   - beginThreads: makes threads, which are under all of it but the filter of system calls.
    mutating func apply<Threads>(
        _ folders: (policies: Set<String>, keys: Set<String>), audit: String, sockets: [String],
        _ logger: Logger, beginThreads: (Sandbox) -> Threads
    ) -> Threads {
        var permitted: [(path: String, rights: Rights)] = []
        permitted += folders.policies.map { ($0, [.read, .list]) }
        permitted += folders.keys.map { ($0, .read) }
        // The log, the new log after a rotation, and the old one that the new one continues.
        permitted.append((folder(of: audit), [.read, .list, .write]))
        // For the units and names of callers, and for the overflow uid and gid.
        permitted.append(("/proc", .read))
        // To remove its own sockets at the end, if the directory is its own.
        permitted += sockets.map { (folder(of: $0), .remove) }
        keepOneCapability()
        restrictFiles(permitted, keepsAbstractSockets: environment("NOTIFY_SOCKET")?.hasPrefix("@") == true)
        let threads = beginThreads(self)
        restrictCalls()
        for layer in layers where layer.state == nil {
            logger.log("goes on without the wall \(layer.name): \(printable(layer.reason ?? ""))")
        }
        return threads
    }
}
