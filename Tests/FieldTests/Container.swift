// Containers of podman with runc, without any image: the root directory has the machine's /usr and this project's
// programs, all read-only.
//
// Must never leave a container or a file of podman behind: everything that podman keeps is in the test's folder.

import Foundation
import TestSupport
import Testing

final class Container {
    private let folder: TemporaryFolder
    /// The root directory of each container.
    let root: String
    /// Volumes, as podman takes them.
    private let volumes: [String]

    /// Why no container can run here, or nil if one can. It is tried.
    static let obstacle: String? = {
        guard isRoot else { return "needs root: it makes containers" }
        for name in ["podman", "runc"] where installed(name) == nil { return "\(name) is not installed" }
        do {
            let container = try Container(TemporaryFolder("probe"))
            let probe = try container.run(["/usr/bin/true"])
            guard probe.status != 0 else { return nil }
            return "podman cannot run a container here: \(probe.errors.split(separator: "\n").last ?? "no word on why")"
        } catch { return "podman cannot run a container here: \(error)" }
    }()

    static let condition: ConditionTrait = .enabled(if: obstacle == nil, "\(obstacle ?? "")")

    /// - Parameters:
    ///   - shares: directories and files of the machine, and where they are inside.
    ///   - owner: the uid and gid of the root directory, which are root's inside.
    init(_ folder: TemporaryFolder, shares: [(outside: String, inside: String)] = [], owner: UInt32 = 0) throws {
        self.folder = folder
        root = try folder.directory("rootfs")
        for name in ["bin", "lib", "lib64", "sbin"] { try? folder.link("rootfs/\(name)", to: "usr/\(name)") }
        let own = try Jail.foldersOf("keybroker").filter { !$0.hasPrefix("/lib") && !$0.hasPrefix("/usr/") }
        for name in ["dev", "etc", "proc", "run", "sys", "tmp", "usr"] { try folder.directory("rootfs/\(name)") }
        try folder.shell("chown -hR \(owner):\(owner) rootfs")
        volumes =
            (["/usr"] + own).flatMap { ["--volume", "\($0):\($0):ro"] }
            + shares.flatMap { ["--volume", "\($0.outside):\($0.inside)"] }
    }

    deinit { _ = try? Program.run(podman, place + ["rm", "--all", "--force", "--time", "0"]) }

    private var podman: String { installed("podman") ?? "podman" }
    /// Where podman keeps what it has to remember.
    private var place: [String] {
        [
            "--runtime", "runc", "--root", folder["podman/root"], "--runroot", folder["podman/run"], "--tmpdir",
            folder["podman/tmp"], "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none",
        ]
    }

    /// `podman run`, and what this test needs of it. Then come more options, the root directory and the command.
    var podmanRun: [String] {
        // Machines that are containers themselves may not set the limits that podman sets by default.
        [podman] + place
            + ["run", "--rm", "--interactive", "--network", "none", "--log-driver", "none"]
            + ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--pids-limit", "-1"] + volumes
    }

    /// The command line that runs a command in a new container.
    func command(_ command: [String], _ options: [String] = []) -> (executable: String, arguments: [String]) {
        (podman, Array(podmanRun.dropFirst()) + options + ["--rootfs", root] + command)
    }

    /// Runs a command in a new container, and waits until it ends.
    func run(
        _ command: [String], _ options: [String] = []
    ) throws -> (status: Int32, output: String, errors: String) {
        let (executable, arguments) = self.command(command, options)
        return try Program.run(executable, arguments)
    }
}
