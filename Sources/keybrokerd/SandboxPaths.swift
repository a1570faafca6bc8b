// Which directories the daemon keeps to once it has all it needs: what each is needed for stands beside it.
//
// Must never let in more than that: whoever takes the daemon over has just these.

internal import Kernel
internal import Wire

extension Sandbox {
    /// From here on the process can do little but what it is for, whoever started it and whoever takes it over.
    /// - Parameters:
    ///   - audit: the log, in full.
    ///   - socket: the daemon's own, in full; nil where it is the service manager's.
    mutating func apply(
        _ folders: (policies: Set<String>, keys: Set<String>), audit: String, socket: String?,
        _ logger: Logger
    ) {
        var permitted: [(path: String, rights: Rights)] = []
        permitted += folders.policies.map { ($0, [.read, .list]) }
        permitted += folders.keys.map { ($0, .read) }
        // The log, the next one after a rotation, and the one that it goes on from.
        permitted.append((folder(of: audit), [.read, .list, .write]))
        // Callers' units and names, and the ids that stand for nobody.
        permitted.append(("/proc", .read))
        // Its own socket, at its end.
        if let socket { permitted.append((folder(of: socket), .remove)) }
        keepOneCapability()
        restrictFiles(permitted, keepsAbstractSockets: environment("NOTIFY_SOCKET")?.hasPrefix("@") == true)
        restrictCalls()
        for wall in walls where wall.state == nil {
            logger.log("goes on without the wall \(wall.name): \(printable(wall.reason ?? ""))")
        }
    }
}
