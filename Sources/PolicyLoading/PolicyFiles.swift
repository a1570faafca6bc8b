// Loads a policy from its files. It opens them, checks that only trusted accounts could have written them, looks up the
// accounts that they name, and parses them.
//
// Must never check a path first and read it later. Each file is opened once, checked on its descriptor, and read from
// that descriptor.

package import Kernel
package import Policy
package import Wire
internal import Digest
package import NameLookup

/// A policy, and what the log says about it.
package struct LoadedPolicy: Sendable {
    package let policy: Policy
    /// SHA-256 of the bytes of all files in order, as lower-case hexadecimal digits.
    package let digest: String
    /// The paths of the files, in order.
    package let files: [String]
    /// The paths where the files were looked for.
    package let source: PolicyFiles
    /// The accounts that it names and that were not found.
    package let missing: MissingAccounts
    /// Where its key files are. Empty if it was read without a look at them.
    let keyFolders: KeyFolders
    /// The key files that the daemon cannot read. Nil if that was not looked at.
    package var outside: [(key: KeyName, path: String)]?
    /// The key files that the daemon's unit hides from it. Nil if that was not looked at.
    package var hidden: [(key: KeyName, path: String, setting: HidingSetting)]?
}

extension LoadedPolicy {
    /// What stands in for a policy while there is none: it permits nothing to anybody.
    package static func none(in source: PolicyFiles) -> LoadedPolicy {
        LoadedPolicy(
            policy: Policy(), digest: "", files: [], source: source, missing: MissingAccounts(),
            keyFolders: KeyFolders())
    }
}

/// The result of loading. There is a policy only if there is no error.
package struct LoadResult: Sendable {
    package var loaded: LoadedPolicy?
    package let diagnostics: [Diagnostic]

    package init(loaded: LoadedPolicy?, diagnostics: [Diagnostic]) {
        self.loaded = loaded
        self.diagnostics = diagnostics
    }

    /// The number of errors, including those that are not listed.
    package var faults: Int { count(.error) }
    /// The number of warnings, including those that are not listed.
    package var warnings: Int { count(.warning) }

    private func count(_ severity: Diagnostic.Severity) -> Int {
        diagnostics.reduce(0) { $0 + ($1.severity == severity ? $1.count : 0) }
    }
}

/// The paths that a policy is loaded from.
package struct PolicyFiles: Sendable {
    /// Files, or directories whose `*.policy` files are read in the order of their names.
    package let paths: [String]
    /// The one of the paths that need not exist.
    private let optionalPath: String?
    /// Whose files are trusted, and those of the keys.
    package let owners: TrustedOwners
    /// The policy itself may be on any file system. Its keys are looked at only where `owners` may go.
    private var everywhere: TrustedOwners { owners.keeping(to: nil) }
    private let names: NameService
    /// What the daemon's unit hides from it, though this program sees it.
    private var hidden: HiddenFolders?
    /// What one of the files is to contain, instead of what it contains.
    private var edited: PolicyText?

    /// - Parameter optional: the one of the paths that need not exist.
    package init(_ paths: [String], optional: String? = nil, owners: TrustedOwners, names: NameService = .here) {
        self.names = names
        self.paths = paths
        self.optionalPath = optional
        self.owners = owners
    }

    /// The same files, read with another name service.
    package func withNames(_ names: NameService) -> PolicyFiles {
        PolicyFiles(paths, optional: optionalPath, owners: owners, names: names)
    }

    /// The same files, with warnings of keys that the daemon's unit hides from it.
    package func warning(of hidden: HiddenFolders) -> PolicyFiles {
        var files = self
        files.hidden = hidden.isEmpty ? nil : hidden
        return files
    }

    /// The same files, but one of them with this content. A file that does not exist yet may be named too.
    package func replacing(_ text: PolicyText) -> PolicyFiles {
        var files = self
        files.edited = text
        return files
    }

    package func isOptional(_ path: String) -> Bool { path == optionalPath }

    /// `keybroker.policy` in `directory` (`/etc/keybroker`), and then `policy.d` in it, if that exists.
    package static func standard(
        in directory: String, owners: TrustedOwners, names: NameService = .here
    ) -> PolicyFiles {
        let extra = "\(directory)/policy.d"
        return PolicyFiles(["\(directory)/keybroker.policy", extra], optional: extra, owners: owners, names: names)
    }

    /// What to do with a file that an untrusted account could have written.
    package enum Distrusted: Sendable {
        /// Report an error, as the daemon does.
        case isFault
        /// Report a warning and read the file, for a policy that is still being written.
        case isWarning
    }

    /// Reads the policy.
    /// - Parameter warns: whether to look for warnings as well. For example, each key file is checked, and it is
    ///   reported if it could not be handed out now.
    package func load(distrusted: Distrusted = .isFault, warns: Bool = true) -> LoadResult {
        var diagnostics: [Diagnostic] = []
        var texts: [PolicyText] = []
        var size = 0
        for file in files(&diagnostics, distrusted, warns: warns) {
            do throws(TrustError) {
                let bytes = try bytes(of: file, room: Limits.policyBytes - size, distrusted, &diagnostics)
                size += bytes.count
                texts.append(PolicyText(file: file, bytes: bytes))
            } catch {
                diagnostics.append(
                    Diagnostic(.error, "the policy cannot be used: \(error.explained(by: names))", file: file))
            }
        }
        if texts.isEmpty, diagnostics.isEmpty {
            diagnostics.append(Diagnostic(.error, "there is no *.policy file in it", file: paths.first ?? "the policy"))
        }
        var sha = SHA256()
        for text in texts { sha.update(text.bytes) }
        let digest = String(decoding: sha.finish(), as: UTF8.self)
        let files = texts.map(\.file)
        let folders = KnownFolders(owners)
        // From here on the policy alone has the texts.
        let reading = read(consume texts, in: resolver(folders), warns: warns, judges: names.findsAccounts)
        diagnostics += reading.diagnostics
        guard let policy = reading.policy, !diagnostics.contains(where: { $0.severity == .error }) else {
            return LoadResult(loaded: nil, diagnostics: diagnostics)
        }
        return LoadResult(
            loaded: LoadedPolicy(
                policy: policy, digest: digest, files: files, source: self, missing: reading.missing,
                keyFolders: KeyFolders(folders)),
            diagnostics: diagnostics)
    }

    private func files(
        _ diagnostics: inout [Diagnostic], _ distrusted: Distrusted, warns: Bool
    ) -> [String] {
        var files: [String] = []
        for path in paths {
            do throws(TrustError) {
                guard let (names, others) = try names(in: path, distrusted) else { continue }
                files += names
                for other in others where warns {
                    diagnostics.append(
                        Diagnostic(.warning, "not read: its name does not end in .policy", file: "\(path)/\(other)"))
                }
            } catch {
                diagnostics.append(
                    Diagnostic(.error, "the policy cannot be used: \(error.explained(by: self.names))", file: path))
            }
        }
        return files
    }

    /// The files that a path stands for: the file itself, or the files in the directory, and the names in it that
    /// somebody may take for files of the policy. Nil if the path does not exist and need not.
    private func names(
        in path: String, _ distrusted: Distrusted
    ) throws(TrustError) -> (files: [String], others: [String])? {
        let kind: FileStatus.Kind?
        do throws(Failure) { kind = try statusFollowing(path)?.kind } catch {
            throw TrustError(unreadable: path, error)
        }
        if kind == nil, path == optionalPath { return nil }
        guard kind == .directory else { return ([path], []) }
        let names: [String]
        do { names = try everywhere.entries(ofDirectory: path) } catch {
            guard distrusted == .isWarning, error.kind == .untrusted else { throw error }
            // Each of these files will be reported as untrusted, for the same reason.
            names = (try? directoryEntries(path)) ?? []
        }
        var files = names.filter(Self.isPolicy).map { "\(path)/\($0)" }
        if let new = edited?.file, folder(of: new) == folder(of: "\(path)/x"), !files.contains(new) {
            files.append(new)
            files.sort { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        }
        // Nobody takes a hidden file or an editor's backup for a part of the policy.
        return (files, names.filter { !Self.isPolicy($0) && !$0.hasPrefix(".") && !$0.hasSuffix("~") })
    }

    /// Whether a file of this name in a directory is read.
    package static func isPolicy(_ name: String) -> Bool { name.hasSuffix(".policy") && !name.hasPrefix(".") }

    private func bytes(
        of file: String, room: Int, _ distrusted: Distrusted, _ diagnostics: inout [Diagnostic]
    ) throws(TrustError) -> [UInt8] {
        if let edited, edited.file == file {
            guard edited.bytes.count <= room else {
                throw TrustError(.unreadable, "\(file) is too long: a policy has at most \(Limits.policyBytes) bytes")
            }
            return edited.bytes
        }
        do {
            let trusted = try everywhere.place(of: file).open()
            return try reading(file, try trusted.descriptor.readAll(limit: room, file))
        } catch {
            guard distrusted == .isWarning, error.kind == .untrusted else { throw error }
            diagnostics.append(
                Diagnostic(.warning, "keybrokerd would refuse this file: \(error.explained(by: names))", file: file))
            return try reading(file, try readSmallFile(file, limit: room))
        }
    }

    private func reading(_ file: String, _ body: @autoclosure () throws(Failure) -> [UInt8]) throws(TrustError)
        -> [UInt8]
    {
        do { return try body() } catch { throw TrustError(unreadable: file, error) }
    }

    /// How the policy looks up accounts on this machine. Each account is looked up once.
    private func resolver(_ folders: KnownFolders) -> Resolver {
        let names = names
        let users = Lookups { name throws(Failure) in try names.user(named: name) }
        let groups = Lookups { name throws(Failure) in try names.group(named: name) }
        let overflow = OverflowIDs.ofThisKernel()
        let hidden = hidden
        return Resolver(
            overflowUID: overflow.uid, overflowGID: overflow.gid, user: users.found, group: groups.found,
            fault: { source in
                // Only the daemon was given its credentials.
                if case .credential = source, !names.isDaemons { return nil }
                guard let path = source.path() else {
                    return "no credential can be found: \(TrustError.noCredentials)"
                }
                do throws(TrustError) {
                    let real = try folders.realPath(of: path)
                    return hidden?.explanation(of: real).map { "the daemon cannot see this file: \($0)" }
                } catch {
                    switch error.kind {
                    case .missing: return "there is no such file now: \(error)"
                    // Looking at it could take for ever.
                    case .elsewhere: return nil
                    case .untrusted: return "the file would not be handed out: \(error.explained(by: names))"
                    case .unreadable, .shortage, .outside, .late, .oversized:
                        return "whether the file can be handed out is not known: \(error)"
                    }
                }
            },
            known: { names.similarNames(ofGroups: $0) })
    }
}
