// A file system in user space that a test can make hang. See Peers/fuse.py.

import Foundation
import TestSupport

/// Whether this machine permits such a mount.
let canMountFUSE: Bool = {
    guard isRoot, FileManager.default.fileExists(atPath: "/dev/fuse") else { return false }
    let folder = TemporaryFolder("fuse-probe")
    return (try? HangingFileSystem(folder, "mnt")) != nil
}()

/// It has one file, `key`, with the content "ONE". It is unmounted with this object, whether it hangs or not.
final class HangingFileSystem {
    private let program: Program
    private let folder: String
    let key: String

    init(_ parent: TemporaryFolder, _ name: String) throws {
        folder = try parent.directory(name)
        key = "\(folder)/key"
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/fuse.py").path
        program = try Program(installed("python3") ?? "python3", [script, folder])
        guard try program.nextLine() == "mounted" else { throw Waited(description: "no FUSE: \(program.text(.error))") }
    }

    /// - Parameter command: `hang all`, `delay 0.05`, `go`, `write TWO`, …
    func tell(_ command: String) throws {
        try program.send(command)
        _ = try program.nextLine()
    }

    deinit {
        // The end of the program fails all requests, so nothing hangs from here on.
        _ = try? program.waitForExit()
        _ = try? Program.run("/bin/umount", ["-l", folder])
    }
}
