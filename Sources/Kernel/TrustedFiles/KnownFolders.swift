// Checks many files in few directories, and each directory only once.
//
// What it says is for warnings, and for what the sandbox has to permit. Must never be kept, because it does not notice
// changes. Must never hold a descriptor for each directory: requests need them while a policy is read.

/// Checks many files in few directories, and each directory only once. Use it at once and drop it, because it does not
/// notice changes.
package final class KnownFolders {
    private let owners: TrustedOwners
    private let watch: ChangeWatch?
    /// The real path of each directory, by the path that was asked for. Nil if it is no directory.
    private var known: [String: Result<String?, TrustError>] = [:]
    /// Paths of files that are no regular files in their directories.
    package private(set) var others: [String] = []

    /// - Parameter watch: also watches each directory on the way.
    package init(_ owners: TrustedOwners, watchedBy watch: ChangeWatch? = nil) {
        self.owners = owners
        self.watch = watch
    }

    /// The directories of the files that were asked for, as their paths name them.
    package var folders: [String] { Array(known.keys) }

    /// The real path of a directory, with symbolic links followed. Nil if it is no directory.
    package func realFolder(at path: String) throws(TrustError) -> String? {
        if let found = known[path] { return try found.get() }
        let found: Result<String?, TrustError> = Result(of: try walk(to: path))
        known[path] = found
        return try found.get()
    }

    private func walk(to folder: String) throws(TrustError) -> String? {
        let walk = try owners.walk(to: folder, watchedBy: watch)
        guard walk.status.kind == .directory else { return nil }
        walk.prepareToFollow()
        return walk.path
    }

    /// The real path of the file at `path`, with symbolic links followed. Makes the same checks as
    /// ``TrustedOwners/place(of:watchedBy:)``.
    package func realPath(of path: String) throws(TrustError) -> String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")), slash != path.startIndex else {
            others.append(path)
            return try owners.place(of: path, watchedBy: watch).path
        }
        let folder = String(path[..<slash])
        guard let real = try realFolder(at: folder) else { return try owners.place(of: path, watchedBy: watch).path }
        let file = real == folder ? path : real == "/" ? String(path[slash...]) : real + path[slash...]
        if case .unknown = try owners.place(at: file) { return try owners.place(of: path, watchedBy: watch).path }
        let status: FileStatus?
        do { status = try statusWithoutFollowing(file) } catch { throw TrustError(error, on: file) }
        guard let status else { throw TrustError(missing: file) }
        // A regular file needs no further walk. Anything else, such as a symbolic link, does.
        guard status.kind == .regular else {
            others.append(path)
            return try owners.place(of: path, watchedBy: watch).path
        }
        try owners.checkFile(status, file)
        return file
    }

    /// Checks the file at `path`.
    package func check(_ path: String) throws(TrustError) { _ = try realPath(of: path) }
}
