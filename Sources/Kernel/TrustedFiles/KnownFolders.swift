// Many files of few directories: each directory is walked to once.
//
// Must never be kept: nobody tells it of changes.

/// Checks many files of few directories: each directory is walked to once. Good for a moment, as nobody tells
/// it of changes.
package final class KnownFolders {
    private let owners: TrustedOwners
    private let watch: ChangeWatch?
    private var walks: [Substring: Result<Walk, TrustError>] = [:]

    /// - Parameter watch: is told of each directory.
    package init(_ owners: TrustedOwners, watchedBy watch: ChangeWatch? = nil) {
        self.owners = owners
        self.watch = watch
    }

    /// Where the file at `path` really is, symbolic links followed, after the walk that
    /// ``TrustedOwners/place(of:watchedBy:)`` makes found it trustworthy.
    package func realPath(of path: String) throws(TrustError) -> String {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
            return try owners.place(of: path, watchedBy: watch).path
        }
        let (folder, name) = (path[..<slash], String(path[path.index(after: slash)...]))
        let known =
            walks[folder] ?? Result(of: try owners.walk(to: String(folder), watchedBy: watch))
        walks[folder] = known
        let walk = try known.get()
        // A file of its own; what else it may be takes a walk to tell.
        guard let status = walk.status(of: name), status.kind == .regular else {
            return try owners.place(of: path, watchedBy: watch).path
        }
        let real = walk.path == "/" ? "/\(name)" : "\(walk.path)/\(name)"
        try owners.checkFile(status, real)
        return real
    }
}
