// The path of a key's file, and which key files the daemon's unit hides from it.
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
