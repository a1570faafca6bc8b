// The calls that the log makes on files, as protocols. The daemon's log makes the system calls themselves. A test
// records them, and replays what a power cut leaves of them (Tests/CrashStates).
//
// Must never decide anything: that is done in the log and in its recovery, which are the same for both.

package import Kernel

/// The file that a log is written to. The daemon's is an ``AppendFile``.
package protocol LogFile: ~Copyable {
    associatedtype Folder: LogFolder
    /// Device and inode identify the file, even after another file took its path.
    var device: UInt64 { get }
    var inode: UInt64 { get }
    /// Opens the file for appending, or creates it with mode 0640.
    init(_ path: String, in folder: Folder) throws(Failure)
    /// The file's current status: `fstat(2)`.
    borrowing func status() throws(Failure) -> FileStatus
    /// Appends all bytes: `write(2)`.
    /// - Parameter written: grows by the number of bytes that were written, even if the rest failed.
    borrowing func append(_ bytes: [UInt8], counting written: inout Int) throws(Failure)
    /// `fdatasync(2)`.
    borrowing func sync() throws(Failure)
    /// Cuts off everything after the first `size` bytes: `ftruncate(2)`.
    borrowing func cut(to size: Int) throws(Failure)
    /// The last bytes of the file, at most `limit` of them.
    borrowing func tail(limit: Int) throws(Failure) -> [UInt8]
}

/// The directory that a log is in. The daemon's is a ``LogDirectory``.
package protocol LogFolder {
    /// Checks who may change the directories above the log.
    func checkDirectories(aboveLog path: String) throws(TrustError)
    /// Checks a log that is open.
    func checkLog(_ status: FileStatus, _ path: String) throws(TrustError)
    /// Flushes the directory that contains `path`: `fsync(2)`.
    func sync(above path: String) throws(Failure)
    /// The names in a directory, sorted.
    func names(in directory: String) throws(Failure) -> [String]
    /// The status of `path` itself, or nil if nothing is there: `lstat(2)`.
    func status(of path: String) throws(Failure) -> FileStatus?
    /// The last bytes of a file and its size, or nil if it is not a regular file.
    func tail(of path: String, limit: Int) throws(Failure) -> (bytes: [UInt8], total: Int)?
}

extension AppendFile: LogFile {
    package init(_ path: String, in folder: LogDirectory) throws(Failure) { try self.init(path) }
}

/// The log's directory as the kernel shows it.
package struct LogDirectory: LogFolder {
    /// Who may own the log and the directories above it.
    let owners: TrustedOwners

    package func checkDirectories(aboveLog path: String) throws(TrustError) {
        try owners.checkDirectories(aboveLog: path)
    }

    package func checkLog(_ status: FileStatus, _ path: String) throws(TrustError) {
        try owners.checkLog(status, path)
    }

    package func sync(above path: String) throws(Failure) { try syncDirectory(above: path) }
    package func names(in directory: String) throws(Failure) -> [String] { try directoryEntries(directory) }
    package func status(of path: String) throws(Failure) -> FileStatus? { try statusWithoutFollowing(path) }

    package func tail(of path: String, limit: Int) throws(Failure) -> (bytes: [UInt8], total: Int)? {
        try fileTail(path, limit: limit)
    }
}
