// Files that are installed with this program.
//
// Must never find a file by the environment or the working directory, which a caller chooses.

internal import Glibc
internal import Kernel

/// A file that is installed with this program.
package enum InstalledFile {
    /// The path of a file below the directory that this program is installed in, or else below /usr. Nil if neither has
    /// it. Calls `readlink(2)` on `/proc/self/exe`, and `access(2)`.
    /// - Parameter path: such as `share/keybroker/openssl.cnf`.
    package static func find(_ path: String) -> String? {
        let own = ProgramArguments.program.map { folder(of: folder(of: $0)) }
        return [own, "/usr"].compactMap { $0.map { "\($0)/\(path)" } }.first { file in
            // Safety: the call reads a NUL-terminated string.
            unsafe access(file, R_OK) == 0
        }
    }
}
