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
    ///   - beginThread: makes a thread, which is under all of it but the filter of system calls.
    mutating func apply<Thread>(
        _ folders: (policies: Set<String>, keys: Set<String>), audit: String, sockets: [String],
        _ logger: Logger, beginThread: (Sandbox) -> Thread
    ) -> Thread {
        var permitted: [(path: String, rights: Rights)] = []
        permitted += folders.policies.map { ($0, [.read, .list]) }
        permitted += folders.keys.map { ($0, .read) }
        // The log, the new log after a rotation, and the old one that the new one continues.
        permitted.append((folder(of: audit), [.read, .list, .write]))
        // For the units and names of callers, and for the overflow uid and gid.
        permitted.append(("/proc", .read))
        // To remove its own sockets at the end.
        permitted += sockets.map { (folder(of: $0), .remove) }
        keepOneCapability()
        restrictFiles(permitted, keepsAbstractSockets: environment("NOTIFY_SOCKET")?.hasPrefix("@") == true)
        let thread = beginThread(self)
        restrictCalls()
        for layer in layers where layer.state == nil {
            logger.log("goes on without the wall \(layer.name): \(printable(layer.reason ?? ""))")
        }
        return thread
    }
}
