// keybroker policy edit: changes the policy in an editor, as visudo(8) does for sudo.
//
// Must never put a policy in place that is faulty, or that is not the one that was checked. Must never lose what was
// written: the copy stays until it is in place, or until the person drops it.

internal import ArgumentParser
internal import Interaction
internal import Kernel
internal import NameLookup
internal import Policy
internal import PolicyLoading
internal import Wire

struct PolicyEdit: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "edit", abstract: "Changes the policy in an editor, checks it, and puts it in force.",
        discussion: """
            The editor ($VISUAL, $EDITOR or editor) gets a copy. A faulty policy is never put in place: edit it again, \
            keep it aside, or drop it. Before it is put in place, it is shown who gains and who loses which key. Exit \
            status: 0 done, or nothing was changed; 75 somebody else edits it, or changed it meanwhile; 77 not \
            permitted; 78 the policy is faulty and kept aside; and those of reload.
            """)

    @Argument(
        help: ArgumentHelp(
            "The file: one of the policy's, or a new one in its directory (default: keybroker.policy).",
            valueName: "file"), completion: .file())
    var file: String?

    @OptionGroup var daemonPolicy: DaemonPolicyOptions

    @Flag(help: "Do not ask the daemon to read it.")
    var noReload = false

    @OptionGroup var options: BrokerOptions

    func run() throws {
        let files = try source()
        let path = try path(in: files)
        for beside in [path, lockPath(files)] { try checkDirectories(above: beside) }
        let isInPlace = try edit(files, path)
        guard isInPlace, !noReload else { return }
        do { try Reloading(paths: daemonPolicy.paths, options: options).run() } catch {
            say("keybroker: \(path) is in place, but not in force: when that is corrected, type 'keybroker reload'")
            throw error
        }
    }

    /// Ends the program if somebody else could exchange the copy, or hold the lock. A sticky directory such as `/tmp` is
    /// not enough for that.
    private func checkDirectories(above path: String) throws(ExitCode) {
        let parent = folder(of: path)
        do throws(TrustError) { try TrustedOwners.now.checkDirectories(above: path) } catch {
            let advice = error.kind == .missing ? remedy(makingRoomIn: parent) : nil
            throw fail(
                ([error.explained(by: .here), advice].compactMap(\.self)).joined(separator: "; "),
                status: error.kind == .untrusted ? 77 : 71)
        }
        guard let status = (try? statusFollowing(parent)) ?? nil, !status.isWritableByOthers else {
            throw fail("\(parent) can be written to by others, who could exchange what is edited there", status: 77)
        }
    }

    /// Returns whether another content is in its place now.
    private func edit(_ files: PolicyFiles, _ path: String) throws -> Bool {
        do {
            guard let lock = try LockFile.claimed(lockPath(files)) else {
                throw fail("somebody else edits this policy now", status: 75)
            }
            let hidden = Privileges.isRoot ? HiddenFolders.ofService : .none
            let editing = PolicyEditing(
                files: files.warning(of: hidden), file: try EditedFile(path, limit: Limits.policyBytes))
            return try editing.run(holding: lock)
        } catch let failure as Failure {
            let isDenied = [Failure.permissionDenied, Failure.notPermitted].contains(failure.code)
            throw fail("\(failure)\(isDenied ? "; \(remedy)" : "")", status: isDenied ? 77 : 71)
        }
    }

    /// What to do if this account may not write the policy.
    private var remedy: String {
        let owners = "the policy is for its owner to edit: use sudo"
        guard daemonPolicy.paths.isEmpty, !StandardFiles.areOwn, let folder = StandardFiles.directoryOfUser else {
            return owners
        }
        return "\(owners); or, for a broker of your own: mkdir -p \(folder)"
    }

    /// What to do if the directory of the policy is not there. Nil if there is nothing to say.
    private func remedy(makingRoomIn folder: String) -> String? {
        guard daemonPolicy.paths.isEmpty, !Privileges.isRoot else { return nil }
        return StandardFiles.areOwn ? "type: mkdir -p \(folder)" : remedy
    }

    private func source() throws(ExitCode) -> PolicyFiles {
        guard daemonPolicy.paths.isEmpty else { return PolicyFiles(try daemonPolicy.paths.map(absolute), owners: .now) }
        return StandardFiles.policy
    }

    private func absolute(_ path: String) throws(ExitCode) -> String {
        do { return try absolutePath(path) } catch { throw fail("\(error)", status: 64) }
    }

    private func isDirectory(_ path: String) -> Bool { ((try? statusFollowing(path)) ?? nil)?.kind == .directory }

    /// The file to edit. It is one that the policy consists of.
    private func path(in files: PolicyFiles) throws(ExitCode) -> String {
        guard let file else {
            if let first = files.paths.first(where: { !isDirectory($0) && !files.isOptional($0) }) { return first }
            throw fail("the policy is a directory: name the file in it", status: 64)
        }
        let folders = files.paths.filter(isDirectory)
        // A name alone is looked for beside the others first.
        if !file.utf8.contains(UInt8(ascii: "/")) {
            if let named = files.paths.first(where: { $0.hasSuffix("/\(file)") && !isDirectory($0) }) { return named }
            if let folder = folders.first, PolicyFiles.isPolicy(file) { return "\(folder)/\(file)" }
        }
        let path = normalized(try absolute(file))
        if let named = files.paths.first(where: { normalized($0) == path && !isDirectory($0) }) { return named }
        let name = path.split(separator: "/").last.map(String.init) ?? ""
        if let folder = folders.first(where: { folder(of: path) == normalized($0) }), PolicyFiles.isPolicy(name) {
            return "\(folder)/\(name)"
        }
        throw fail(
            "\(file) is no part of the policy, which is read from \(files.paths.joined(separator: ", ")); in a directory "
                + "a file is named NAME.policy", status: 64)
    }

    /// One lock for the whole policy: two files of it that fit the others each need not fit together.
    private func lockPath(_ files: PolicyFiles) -> String {
        let first = files.paths.first ?? "/etc/keybroker/keybroker.policy"
        return (isDirectory(first) ? first : folder(of: first)) + "/.edit.lock"
    }
}
