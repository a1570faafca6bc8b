// Files that are installed with this program.
//
// Must never find a file by the environment or the working directory, which a caller chooses.

internal import Glibc
internal import Kernel

/// A file that is installed with this program.
package enum InstalledFile {
    /// The path of a file below the prefix that this program is installed in, or else below /usr. Nil if neither has it.
    /// Calls `readlink(2)` on `/proc/self/exe`, and `access(2)`.
    /// - Parameter path: such as `share/keybroker/openssl.cnf`.
    package static func find(_ path: String) -> String? {
        prefixes.map { "\($0)/\(path)" }.first { file in
            // Safety: the call reads a NUL-terminated string.
            unsafe access(file, R_OK) == 0
        }
    }

    /// The folder above the folder of this program comes first.
    private static var prefixes: [String] {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let room = buffer.count
        // Safety: readlink writes at most `room` bytes to the array's own storage.
        let count = unsafe readlink("/proc/self/exe", &buffer, room)
        guard count > 0, count < room else { return ["/usr"] }
        let program = String(decoding: buffer[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
        return [folder(of: folder(of: program)), "/usr"]
    }
}
