// Where the key files of a policy are: what the sandbox has to permit, and what it does not.
//
// Must never be asked while a request waits, because a policy can name a hundred thousand files.

package import Kernel
internal import Policy
package import Wire

/// The directories of the key files, as the policy names them.
struct KeyFolders: Sendable {
    private(set) var folders: [String] = []
    /// Files that are no regular files there, such as symbolic links.
    private(set) var others: [String] = []

    init() {}

    init(_ known: KnownFolders) { (folders, others) = (known.folders, known.others) }
}

extension KnownFolders {
    /// The real path of a file, or the path itself if it cannot be told. Nil if it leads to a mount that this process
    /// keeps out of.
    fileprivate func localPath(of path: String) -> String? {
        local(path) { () throws(TrustError) in try realPath(of: path) }
    }

    /// The same for a directory.
    fileprivate func localFolder(at path: String) -> String? {
        local(path) { () throws(TrustError) in try realFolder(at: path) }
    }

    private func local(_ path: String, _ real: () throws(TrustError) -> String?) -> String? {
        do throws(TrustError) { return try real() ?? path } catch {
            if case .elsewhere = error.kind { return nil }
            return path
        }
    }
}

extension LoadedPolicy {
    /// The paths of the files that the policy's keys consist of, as it names them.
    package var keyPaths: Set<String> {
        Set(policy.keys.values.lazy.flatMap { [$0.source, $0.certificate].compactMap { $0?.path() } })
    }

    /// The directories that contain the policy and the key files, with symbolic links followed. The sandbox permits the
    /// daemon to read below them.
    /// - Parameter watch: also watches each directory on the paths to the keys.
    package func folders(
        owners: TrustedOwners, watchedBy watch: ChangeWatch? = nil
    ) -> (policies: Set<String>, keys: Set<String>) {
        var policies: Set<String> = []
        for path in source.paths {
            // A file needs its directory, because editors replace a file by renaming. A directory needs only itself.
            let isFolder = (try? statusFollowing(path))??.kind == .directory
            policies.insert(isFolder ? path : folder(of: path))
        }
        let known = KnownFolders(owners, watchedBy: watch)
        var keys: Set<String> = []
        for folder in keyFolders.folders.compactMap(known.localFolder) { keys.insert(folder) }
        for path in keyFolders.others.compactMap(known.localPath) { keys.insert(folder(of: path)) }
        return (policies, keys)
    }

    /// The keys, and their files, that `sandbox` does not permit the daemon to read.
    package func keys(outsideOf sandbox: Sandbox, owners: TrustedOwners) -> [(key: KeyName, path: String)] {
        let known = KnownFolders(owners)
        var covered: [String: Bool] = [:]
        func isOutside(_ path: String) -> Bool {
            let folder = Kernel.folder(of: path)
            let isCovered = covered[folder] ?? sandbox.covers(folder)
            covered[folder] = isCovered
            return !isCovered
        }
        var outside: [(key: KeyName, path: String)] = []
        for key in policy.keys.values {
            for path in [key.source, key.certificate].compactMap({ $0?.path() }) {
                let real = known.localPath(of: path)
                if real.map(isOutside) ?? true { outside.append((key.name, real ?? path)) }
            }
        }
        return outside.sorted { $0.key < $1.key }
    }
}
