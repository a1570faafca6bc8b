// Where the files of a policy's keys are, and which of them the daemon cannot reach: outside of its sandbox, or hidden by
// its unit.
//
// Must never open a key.

package import Kernel
package import Policy
package import Wire

extension Source {
    /// The path of the file. Nil if it is a credential and the service manager passed none.
    package func path() -> String? {
        switch self {
        case .file(let path): path
        case .credential(let id): environment("CREDENTIALS_DIRECTORY").map { "\($0)/\(id)" }
        }
    }
}

extension LoadedPolicy {
    /// The paths of the files that the policy's keys consist of, as it names them.
    package var keyPaths: Set<String> {
        Set(policy.keys.values.flatMap { [$0.source, $0.certificate].compactMap { $0?.path() } })
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
        return (policies, Set(keyPaths.map { folder(of: (try? known.realPath(of: $0)) ?? $0) }))
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
        return policy.keys.values.sorted { $0.name < $1.name }.flatMap { key in
            [key.source, key.certificate].compactMap { $0?.path() }
                .map { (try? known.realPath(of: $0)) ?? $0 }
                .filter(isOutside).map { (key.name, $0) }
        }
    }

    /// The keys, and their files, that the unit of this process hides from it.
    /// - Parameter hidden: what the unit hides.
    package func keys(hiddenBy hidden: HiddenFolders) -> [(key: KeyName, path: String, setting: HidingSetting)] {
        if hidden.isEmpty { return [] }
        return policy.keys.values.sorted { $0.name < $1.name }.flatMap { key in
            [key.source, key.certificate].compactMap { $0?.path() }.compactMap { path in
                guard let setting = hidden.setting(hiding: path), ((try? statusFollowing(path)) ?? nil) == nil else {
                    return nil
                }
                return (key.name, path, setting)
            }
        }
    }
}
