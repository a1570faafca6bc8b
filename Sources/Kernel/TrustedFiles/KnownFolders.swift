// Checks many files in few directories, and each directory only once.
//
// Must never be kept, because it does not notice changes.

/// Checks many files in few directories, and each directory only once. Use it at once and drop it, because it does not
/// notice changes.
package final class KnownFolders {
    private let owners: TrustedOwners
    private let watch: ChangeWatch?
    private var walks: [Substring: Result<Walk, TrustError>] = [:]

    /// - Parameter watch: also watches each directory on the way.
    package init(_ owners: TrustedOwners, watchedBy watch: ChangeWatch? = nil) {
        self.owners = owners
        self.watch = watch
    }

    /// The real path of the file at `path`, with symbolic links followed. Makes the same checks as
    /// ``TrustedOwners/place(of:watchedBy:)``.
    package func realPath(of path: String) throws(TrustError) -> String {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
            return try owners.place(of: path, watchedBy: watch).path
        }
        let (folder, name) = (path[..<slash], String(path[path.index(after: slash)...]))
        let known =
            walks[folder] ?? Result(of: try owners.walk(to: String(folder), watchedBy: watch))
        let isNew = walks.updateValue(known, forKey: folder) == nil
        let walk = try known.get()
        if isNew { walk.prepareToFollow() }
        // A regular file needs no further walk. Anything else, such as a symbolic link, does.
        guard let status = walk.status(of: name), status.kind == .regular else {
            return try owners.place(of: path, watchedBy: watch).path
        }
        let real = walk.path == "/" ? "/\(name)" : "\(walk.path)/\(name)"
        try owners.checkFile(status, real)
        return real
    }
}
