// Walks to a file one path component at a time, on handles (O_PATH|O_NOFOLLOW). What was checked is then what is used,
// even if somebody renames a directory meanwhile.
//
// The walk follows symbolic links itself, and only from a directory that was checked. Must never follow a link that an
// untrusted account could have made.

internal import CKernel
internal import Glibc

/// The parts of a path as the kernel sees them. A slash with a combining mark behind it is one character, and no slash to
/// `String`.
private func components(of path: String) -> [Substring] {
    path.utf8.split(separator: UInt8(ascii: "/")).map { Substring($0) }
}

extension TrustedOwners {
    /// The number of symbolic links on one path that the kernel would follow (path_resolution(7)).
    private static let mostLinks = 40

    /// Walks to the regular file at `path`, and checks every directory and link on the way.
    /// - Parameters:
    ///   - watch: also watches each of them.
    ///   - follows: somebody waits for changes of the file.
    package func place(
        of path: String, watchedBy watch: ChangeWatch? = nil, follows: Bool = false
    ) throws(TrustError) -> TrustedPath {
        let walk = try walk(to: path, watchedBy: watch, follows: follows)
        try checkFile(walk.status, walk.path)
        let last = "/\(walk.name)".utf8
        let isDirect = !walk.endsInLink && path.utf8.suffix(last.count).elementsEqual(last)
        return TrustedPath(
            walk.name, in: try walk.takeFolder(), self,
            isFollowed: follows && walk.isWatched && walk.isFileWatched,
            parent: isDirect ? String(decoding: path.utf8.dropLast(last.count), as: UTF8.self) : nil)
    }

    /// The place of a regular file in a directory to which the way was walked before: the last step of such a walk.
    /// Throws if there is none, also if there is a symbolic link, which only a walk can follow.
    package func place(of name: String, in folder: TrustedFolder) throws(TrustError) -> TrustedPath {
        let path = folder.path(of: name)
        mounts?.refresh()
        let handle = try handle(of: name, in: folder.handle, at: path)
        try checkFile(try examining(path, try handle.status()), path)
        return TrustedPath(name, in: folder, self)
    }

    /// The names in the directory at `path`, sorted by bytes. The path to it is checked first.
    package func entries(ofDirectory path: String) throws(TrustError) -> [String] {
        let walk = try walk(to: path, watchedBy: nil)
        guard walk.status.kind == .directory else {
            throw TrustError(.untrusted, "\(path) is not a directory")
        }
        return try examining(path, try walk.entries())
    }

    /// Checks all directories above `path`. The file at `path` need not exist.
    package func checkDirectories(above path: String) throws(TrustError) {
        let absolute = try examining(path, try absolutePath(path))
        let parent = folder(of: absolute)
        let walk = try walk(to: parent, watchedBy: nil)
        guard walk.status.kind == .directory else {
            throw TrustError(.untrusted, "\(parent) is not a directory")
        }
    }

    func walk(
        to path: String, watchedBy watch: ChangeWatch? = nil, follows: Bool = false
    ) throws(TrustError) -> Walk {
        let path = try examining(path, try absolutePath(path))
        mounts?.refresh()
        let walk = try Walk(from: "/", owners: self, watch: watch, follows: follows)
        var links = 0
        var ahead: [Substring] = components(of: path).reversed()
        while let name = ahead.popLast() {
            switch name {
            case ".": continue
            case "..": try walk.goUp()
            default:
                guard let target = try walk.step(to: String(name), isLast: ahead.isEmpty) else { continue }
                if ahead.isEmpty { walk.endsInLink = true }
                links += 1
                guard links <= Self.mostLinks else {
                    throw TrustError(.untrusted, "\(path) leads over more than \(Self.mostLinks) symbolic links")
                }
                if target.utf8.first == UInt8(ascii: "/") { walk.restart() }
                ahead.append(contentsOf: components(of: target).reversed())
            }
        }
        return walk
    }
}

/// The state of a walk: the handles of all directories from the root to here.
final class Walk {
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
    private let follows: Bool
    private var levels: [Level]
    /// The status of what the last step reached.
    private(set) var status: FileStatus
    private(set) var path: String
    private(set) var name = "."
    private(set) var isWatched: Bool
    /// Whether changes of the file at the end are reported.
    private(set) var isFileWatched = false
    /// Whether the last component of the path was a symbolic link.
    var endsInLink = false

    init(from root: String, owners: TrustedOwners, watch: ChangeWatch?, follows: Bool) throws(TrustError) {
        let handle = try examining(
            root,
            try Descriptor.opened(PathCall.openHandle(in: AT_FDCWD)(root), by: "open"))
        let status = try examining(root, try handle.status())
        let isWatched = watch?.covers(handle, status) ?? false
        try owners.checkDirectory(status, root)
        self.owners = owners
        self.watch = watch
        self.follows = follows
        self.isWatched = isWatched
        levels = [Level(handle, status, "")]
        self.status = status
        path = root
    }

    private var here: Level { levels[levels.count - 1] }

    /// Goes to the parent directory. The parent of the root is the root.
    func goUp() throws(TrustError) {
        guard status.kind == .directory else { throw TrustError(.missing, "\(path) is not a directory") }
        if levels.count > 1 { levels.removeLast() }
        (status, path, name) = (here.status, here.path.isEmpty ? "/" : here.path, ".")
    }

    func restart() {
        levels.removeSubrange(1...)
        (status, path, name) = (here.status, "/", ".")
    }

    /// Goes to `name` in the current directory. If that is a symbolic link, it stays and returns the link's target.
    func step(to name: String, isLast: Bool) throws(TrustError) -> String? {
        let parent = here
        let path = parent.path + "/" + name
        let handle = try owners.handle(of: name, in: parent.handle, at: path)
        var status = try examining(path, try handle.status())
        if let watch, status.kind == .directory {
            isWatched = watch.covers(handle, status) && isWatched
            // Reads the status again after the watch was added, so that no change is missed in between.
            status = try examining(path, try handle.status())
        }
        switch status.kind {
        case .symbolicLink:
            isWatched = watch?.covers(linkNamed: name, in: parent.handle, parent.status) == true && isWatched
            try owners.checkLink(status, in: parent.status, path)
            return try examining(path, try handle.linkTarget())
        case .directory:
            try owners.checkDirectory(status, path)
            levels.append(Level(handle, status, path))
        default:
            guard isLast else { throw TrustError(.missing, "\(path) is not a directory") }
            isFileWatched =
                watch?.covers(fileNamed: name, in: parent.handle, parent.status, follows: follows) == true
        }
        (self.status, self.path, self.name) = (status, path, name)
        return nil
    }

    /// The names in the directory where the walk ended, read through the handle that was checked.
    func entries() throws(Failure) -> [String] {
        try here.handle.directoryEntries()
    }

    /// Has changes of the files reported that are in the directory where the walk ended, so that they can be followed
    /// after the watch was sealed.
    func prepareToFollow() {
        if status.kind == .directory {
            _ = watch?.covers(fileNamed: name, in: here.handle, here.status, follows: false)
        }
    }

    /// The directory that contains the file.
    func takeFolder() throws(TrustError) -> TrustedFolder {
        TrustedFolder(
            try examining(path, try here.handle.duplicate()), path: here.path.isEmpty ? "/" : here.path,
            isWatched: isWatched)
    }
}

extension Descriptor {
    /// The target of the symbolic link that this is a handle of. Calls `readlinkat(2)`.
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
