// Files that only the right account can have put where they are.
//
// A path is walked one component at a time on handles (O_PATH|O_NOFOLLOW), so that what is checked is
// what is used; symbolic links are followed by hand, each from a directory that was checked. The file
// itself is checked on the descriptor that will be handed out.
//
// Must never check a path and then open it, follow a link that somebody else could have made, read a
// byte of the file, or block on what is no regular file.

internal import CKernel
internal import Glibc

/// Whose files are trusted: root's, and those of the uid that started the program where that was not root.
package struct TrustedOwners: Equatable, Sendable {
    package let startedBy: UInt32

    package init(startedBy uid: UInt32) { startedBy = uid }

    /// As the process runs now; to be asked before privileges are given up.
    package static var now: TrustedOwners { TrustedOwners(startedBy: getuid()) }

    package func contains(_ uid: UInt32) -> Bool { uid == 0 || uid == startedBy }

    /// "root", or "root or uid 1000".
    package var description: String { startedBy == 0 ? "root" : "root or uid \(startedBy)" }
}

/// Why a file is not handed out. The description is a sentence for an admin and names the path.
package struct Distrust: Error, Equatable, Sendable, CustomStringConvertible {
    package enum Kind: Equatable, Sendable {
        /// There is no such file.
        case missing
        /// It could not be looked at, or opened.
        case unreadable
        /// Somebody else could have put it there, or it is no regular file.
        case untrusted
        /// The system has no descriptor to spare: the client is told to come again.
        case shortage
        /// It lies where the daemon kept itself from reading when it started.
        case outside
    }
    package let kind: Kind
    package let description: String

    init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }

    /// It was opened and trusted, but a call on it failed.
    package init(unreadable path: String, _ failure: Failure) {
        self.init(.unreadable, failure.on(path).description)
    }

    /// It lies where the process can no longer read.
    package init(outside path: String) {
        self.init(
            .outside,
            "\(path) is in a directory that the daemon did not know when it started, and it keeps itself from reading "
                + "elsewhere: restart it")
    }

    /// The service manager gave this process no credentials.
    package init(missingCredential name: String) {
        self.init(.missing, "\(name) does not exist: $CREDENTIALS_DIRECTORY is not set")
    }

    init(_ failure: Failure, on path: String) {
        switch failure.code {
        case ENOENT: self.init(.missing, "\(path) does not exist")
        case ENOTDIR: self.init(.missing, "\(path) does not exist: what is above it is not a directory")
        case ELOOP: self.init(.untrusted, "\(path) was replaced by a symbolic link just now")
        default: self.init(failure.isShortage ? .shortage : .unreadable, failure.on(path).description)
        }
    }
}

/// The result of system calls on `path`, their failure turned into distrust of it.
private func examining<R: ~Copyable>(
    _ path: String, _ body: () throws(Failure) -> R
) throws(Distrust) -> R {
    do { return try body() } catch { throw Distrust(error, on: path) }
}

/// Opens a handle of `name` itself, links not followed.
private func handle(
    of name: String, in directory: borrowing Descriptor, at path: String
) throws(Distrust) -> Descriptor {
    let number = directory.number
    return try examining(path) { () throws(Failure) in
        // Safety: a Swift string is passed as a NUL-terminated C string for the length of the call.
        try unsafe Descriptor.opened(ck_open_handle(number, name), by: "openat")
    }
}

extension TrustedOwners {
    /// A file that is handed out, or believed.
    fileprivate func checkFile(_ status: FileStatus, _ path: String) throws(Distrust) {
        switch status.kind {
        case .regular: break
        case .directory: throw Distrust(.untrusted, "\(path) is a directory, not a regular file")
        case .symbolicLink: throw Distrust(.untrusted, "\(path) is a symbolic link, not a regular file")
        case .socket: throw Distrust(.untrusted, "\(path) is a socket, not a regular file")
        case .other(let what): throw Distrust(.untrusted, "\(path) is \(what), not a regular file")
        }
        try checkOwner(status, path)
        try checkMode(status, path)
    }

    /// A directory above it. Where it is sticky and root's, as `/tmp`, others can only add entries of
    /// their own: whatever is trusted in there must be trusted itself.
    fileprivate func checkDirectory(_ status: FileStatus, _ path: String) throws(Distrust) {
        try checkOwner(status, path)
        if status.isSticky && status.owner == 0 { return }
        try checkMode(status, path)
    }

    /// A symbolic link in the directory that was checked last.
    fileprivate func checkLink(_ status: FileStatus, in directory: FileStatus, _ path: String) throws(Distrust) {
        // In a directory that only trusted accounts write to, whoever made the link was trusted to.
        if directory.isWritableByOthers { try checkOwner(status, path) }
    }

    private func checkOwner(_ status: FileStatus, _ path: String) throws(Distrust) {
        guard contains(status.owner) else {
            throw Distrust(.untrusted, "\(path) belongs to uid \(status.owner), not to \(description)")
        }
    }

    private func checkMode(_ status: FileStatus, _ path: String) throws(Distrust) {
        guard !status.isWritableByOthers else {
            let whom = status.mode & 0o002 != 0 ? "everybody" : "group \(status.group)"
            throw Distrust(.untrusted, "\(path) can be written to by \(whom) (mode \(status.octalMode))")
        }
    }
}

/// An open file that passed every check, and what was checked.
package struct TrustedFile: ~Copyable, Sendable {
    package var descriptor: Descriptor
    package let status: FileStatus
    /// Where it really is, symbolic links followed.
    package let path: String

    /// Takes the descriptor out.
    package consuming func intoDescriptor() -> Descriptor { descriptor }
}

/// A place that was walked to and found trustworthy: a directory, and a name in it that is no link.
package final class TrustedPlace: Sendable {
    private let directory: Descriptor
    private let name: String
    private let owners: TrustedOwners
    /// Where the walk ended, symbolic links followed.
    package let path: String
    /// Whether the `ChangeWatch` that was given will tell when any part of the way changes.
    package let isWatched: Bool

    fileprivate init(
        directory: consuming Descriptor, name: String, path: String, owners: TrustedOwners, isWatched: Bool
    ) {
        self.directory = directory
        self.name = name
        self.owners = owners
        self.path = path
        self.isWatched = isWatched
    }

    /// The directory that it is in.
    package var folder: String { Kernel.folder(of: path) }

    /// Opens the file, `O_RDONLY`, anew each time and at offset 0, and checks it on the descriptor.
    /// Calls `openat(2)` and `fstat(2)`, no more.
    package func open() throws(Distrust) -> TrustedFile {
        let descriptor = try examining(path) { () throws(Failure) in
            // Safety: a Swift string is passed as a NUL-terminated C string for the length of the call.
            try unsafe Descriptor.opened(ck_open_for_reading(directory.number, name), by: "openat")
        }
        let status = try examining(path) { () throws(Failure) in try descriptor.status() }
        try owners.checkFile(status, path)
        return TrustedFile(descriptor: descriptor, status: status, path: path)
    }
}

extension TrustedOwners {
    /// As many symbolic links on one way as the kernel would follow (path_resolution(7)).
    private static let mostLinks = 40

    /// Walks to the regular file at `path` and checks every directory and link on the way. `watch` is told
    /// of each of them.
    package func place(of path: String, watchedBy watch: ChangeWatch? = nil) throws(Distrust) -> TrustedPlace {
        let walk = try walk(to: path, watchedBy: watch)
        try checkFile(walk.status, walk.path)
        return TrustedPlace(
            directory: try walk.takeParent(), name: walk.name, path: walk.path, owners: self,
            isWatched: walk.isWatched)
    }

    /// The names in the directory at `path`, sorted by their bytes, after the walk to it found it trustworthy.
    package func entries(ofDirectory path: String) throws(Distrust) -> [String] {
        let walk = try walk(to: path, watchedBy: nil)
        guard walk.status.kind == .directory else {
            throw Distrust(.untrusted, "\(path) is not a directory")
        }
        return try examining(path) { () throws(Failure) in try walk.entries() }
    }

    /// Checks all directories above `path`, which itself need not exist.
    package func checkDirectories(above path: String) throws(Distrust) {
        let absolute = try examining(path) { () throws(Failure) in try absolutePath(path) }
        let parent = folder(of: absolute)
        let walk = try walk(to: parent, watchedBy: nil)
        guard walk.status.kind == .directory else {
            throw Distrust(.untrusted, "\(parent) is not a directory")
        }
    }

    fileprivate func walk(to path: String, watchedBy watch: ChangeWatch? = nil) throws(Distrust) -> Walk {
        let path = try examining(path) { () throws(Failure) in try absolutePath(path) }
        let walk = try Walk(from: "/", owners: self, watch: watch)
        var links = 0
        var ahead: [Substring] = path.split(separator: "/").reversed()
        while let name = ahead.popLast() {
            switch name {
            case ".": continue
            case "..": try walk.goUp()
            default:
                guard let target = try walk.step(to: String(name), isLast: ahead.isEmpty) else { continue }
                links += 1
                guard links <= Self.mostLinks else {
                    throw Distrust(.untrusted, "\(path) leads over more than \(Self.mostLinks) symbolic links")
                }
                if target.utf8.first == UInt8(ascii: "/") { try walk.restart() }
                ahead.append(contentsOf: target.split(separator: "/").reversed())
            }
        }
        return walk
    }
}

/// Checks many files of few directories: each directory is walked to once. Good for a moment, as nobody tells
/// it of changes.
package final class KnownFolders {
    private let owners: TrustedOwners
    private let watch: ChangeWatch?
    private var walks: [Substring: Result<Walk, Distrust>] = [:]

    /// - Parameter watch: is told of each directory.
    package init(_ owners: TrustedOwners, watchedBy watch: ChangeWatch? = nil) {
        self.owners = owners
        self.watch = watch
    }

    /// Where the file at `path` really is, symbolic links followed, after the walk that
    /// ``TrustedOwners/place(of:watchedBy:)`` makes found it trustworthy.
    package func realPath(of path: String) throws(Distrust) -> String {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
            return try owners.place(of: path, watchedBy: watch).path
        }
        let (folder, name) = (path[..<slash], String(path[path.index(after: slash)...]))
        let known =
            walks[folder] ?? Result { () throws(Distrust) in try owners.walk(to: String(folder), watchedBy: watch) }
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

/// How far a walk has come: the handles of all directories from the root down.
private final class Walk {
    private final class Level {
        let handle: Descriptor
        let status: FileStatus
        let path: String
        init(_ handle: consuming Descriptor, _ status: FileStatus, _ path: String) {
            self.handle = handle
            self.status = status
            self.path = path
        }
    }

    private let owners: TrustedOwners
    private let watch: ChangeWatch?
    private var levels: [Level]
    /// What the last step led to.
    private(set) var status: FileStatus
    private(set) var path: String
    private(set) var name = "."
    private(set) var isWatched: Bool

    init(from root: String, owners: TrustedOwners, watch: ChangeWatch?) throws(Distrust) {
        let handle = try examining(root) { () throws(Failure) in
            // Safety: a Swift string is passed as a NUL-terminated C string for the length of the call.
            try unsafe Descriptor.opened(ck_open_handle(AT_FDCWD, root), by: "open")
        }
        let status = try examining(root) { () throws(Failure) in try handle.status() }
        let isWatched = watch?.covers(handle, status) ?? false
        try owners.checkDirectory(status, root)
        self.owners = owners
        self.watch = watch
        self.isWatched = isWatched
        levels = [Level(handle, status, "")]
        self.status = status
        path = root
    }

    private var here: Level { levels[levels.count - 1] }

    /// The root is its own parent.
    func goUp() throws(Distrust) {
        guard status.kind == .directory else { throw Distrust(.missing, "\(path) is not a directory") }
        if levels.count > 1 { levels.removeLast() }
        (status, path, name) = (here.status, here.path.isEmpty ? "/" : here.path, ".")
    }

    func restart() throws(Distrust) {
        levels.removeSubrange(1...)
        (status, path, name) = (here.status, "/", ".")
    }

    /// Goes to `name` in the directory where the walk stands. Returns where a symbolic link leads.
    func step(to name: String, isLast: Bool) throws(Distrust) -> String? {
        let parent = here
        let path = parent.path + "/" + name
        let handle = try handle(of: name, in: parent.handle, at: path)
        var status = try examining(path) { () throws(Failure) in try handle.status() }
        if let watch, status.kind == .directory {
            isWatched = watch.covers(handle, status) && isWatched
            // What it is like is asked anew, so that no change falls between the answer and the watch.
            status = try examining(path) { () throws(Failure) in try handle.status() }
        }
        switch status.kind {
        case .symbolicLink:
            isWatched = watch?.covers(linkNamed: name, in: parent.handle, parent.status) == true && isWatched
            try owners.checkLink(status, in: parent.status, path)
            return try examining(path) { () throws(Failure) in try handle.linkTarget() }
        case .directory:
            try owners.checkDirectory(status, path)
            levels.append(Level(handle, status, path))
        default:
            guard isLast else { throw Distrust(.missing, "\(path) is not a directory") }
        }
        (self.status, self.path, self.name) = (status, path, name)
        return nil
    }

    /// The names in the directory where the walk ended: of the very one that was checked.
    func entries() throws(Failure) -> [String] {
        try here.handle.withNumber { number throws(Failure) in try directoryEntries("/proc/self/fd/\(number)") }
    }

    /// What is in the directory where the walk ended, a symbolic link not followed; nil where it is not known.
    func status(of name: String) -> FileStatus? {
        status.kind == .directory ? try? here.handle.status(of: name) : nil
    }

    /// The handle of the directory that the file is in.
    func takeParent() throws(Distrust) -> Descriptor {
        try examining(path) { () throws(Failure) in try here.handle.duplicate() }
    }
}

extension Descriptor {
    /// What an entry of a directory is, of which this is a handle. Calls `fstatat(2)`.
    fileprivate borrowing func status(of name: String) throws(Failure) -> FileStatus {
        var raw = stat()
        let number = number
        _ = try retrying("fstatat") {
            // Safety: fstatat fills the one struct it is given.
            unsafe fstatat(number, name, &raw, AT_SYMLINK_NOFOLLOW)
        }
        return FileStatus(raw)
    }

    /// Where a symbolic link leads, of which this is a handle. Calls `readlinkat(2)`.
    fileprivate borrowing func linkTarget() throws(Failure) -> String {
        let number = number
        let room = Int(PATH_MAX)
        var target = [CChar](repeating: 0, count: room)
        let count = try retrying("readlinkat") {
            // Safety: readlinkat writes at most `room` bytes to the array's own storage.
            unsafe readlinkat(number, "", &target, room)
        }
        guard count < room else { throw Failure("readlinkat", code: ENAMETOOLONG) }
        return String(decoding: target[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
