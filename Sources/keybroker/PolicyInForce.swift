// Whether the daemon has the policy in force that its files have: an edit counts only after a reload.
//
// Must never start a daemon that does not run, nor fail because it cannot be asked. Must never open a file because the
// daemon names it.

internal import Kernel
internal import KeyBrokerClient
internal import PolicyLoading
internal import Wire

enum PolicyInForce {
    /// Says so if the daemon has another policy in force than this one, which the standard files have. Asks only as root,
    /// or the user's own daemon: others are not told.
    static func compare(with loaded: LoadedPolicy) {
        guard Privileges.isRoot || StandardFiles.areOwn, isDaemonRunning() else { return }
        let broker = KeyBroker(socketPath: StandardFiles.socket)
        guard let page = try? broker.status() else { return }
        let status = BrokerStatus(page)
        guard status.allPolicyPaths == loaded.source.paths, isAnother(loaded, status) else { return }
        let socket = StandardFiles.socket.map { " --socket \($0)" } ?? ""
        say("keybroker: the daemon has another policy in force; \(status.remedy(reload: "keybroker reload\(socket)"))")
    }

    /// A line for the status if the files have another policy than the one in force, or a faulty one. Nil if they have the
    /// same, or cannot be read here.
    static func note(_ status: BrokerStatus) -> String? {
        let standard = [StandardFiles.ofSystem, StandardFiles.ofUser].compactMap(\.self)
        guard !status.isWithoutPolicy, let files = standard.first(where: { $0.paths == status.allPolicyPaths }) else {
            return nil
        }
        guard let loaded = files.load(warns: false).loaded else {
            // Others may not be able to read the files.
            let canRead = Privileges.isRoot || StandardFiles.areOwn
            return canRead ? "the files have a faulty policy; type: keybroker policy check" : nil
        }
        return isAnother(loaded, status) ? "the files have another policy; type: keybroker reload" : nil
    }

    private static func isAnother(_ loaded: LoadedPolicy, _ status: BrokerStatus) -> Bool {
        status.value(.policy).map { $0 != loaded.digest } ?? false
    }

    /// Whether a process has the daemon's name. To connect to a socket of the service manager would start it.
    private static func isDaemonRunning() -> Bool {
        let name = Array("keybrokerd\n".utf8)
        return ((try? directoryEntries("/proc")) ?? []).contains { entry in
            entry.utf8.allSatisfy(\.isDigit) && (try? readSmallFile("/proc/\(entry)/comm", limit: 64)) == name
        }
    }
}
