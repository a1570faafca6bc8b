// The way to a file, walked one component at a time on handles (O_PATH|O_NOFOLLOW), so that what is checked is what is
// used.
//
// Symbolic links are followed by hand, each from a directory that was checked. Must never follow a link that somebody
// else could have made.

internal import CKernel
internal import Glibc

/// Opens a handle of `name` itself, links not followed.
private func handle(
    of name: String, in directory: borrowing Descriptor, at path: String
) throws(TrustError) -> Descriptor {
    let number = directory.number
    return try examining(
        path,
        try Descriptor.opened(PathCall.openHandle(in: number)(name), by: "openat"))
}

extension TrustedOwners {
    /// As many symbolic links on one way as the kernel would follow (path_resolution(7)).
    private static let mostLinks = 40

    /// Walks to the regular file at `path` and checks every directory and link on the way. `watch` is told
    /// of each of them.
    package func place(of path: String, watchedBy watch: ChangeWatch? = nil) throws(TrustError) -> TrustedPath {
        let walk = try walk(to: path, watchedBy: watch)
        try checkFile(walk.status, walk.path)
        return TrustedPath(
            directory: try walk.takeParent(), name: walk.name, path: walk.path, owners: self,
            isWatched: walk.isWatched)
    }

    /// The names in the directory at `path`, sorted by their bytes, after the walk to it found it trustworthy.
    package func entries(ofDirectory path: String) throws(TrustError) -> [String] {
        let walk = try walk(to: path, watchedBy: nil)
        guard walk.status.kind == .directory else {
            throw TrustError(.untrusted, "\(path) is not a directory")
        }
        return try examining(path, try walk.entries())
    }

    /// Checks all directories above `path`, which itself need not exist.
    package func checkDirectories(above path: String) throws(TrustError) {
        let absolute = try examining(path, try absolutePath(path))
        let parent = folder(of: absolute)
        let walk = try walk(to: parent, watchedBy: nil)
        guard walk.status.kind == .directory else {
            throw TrustError(.untrusted, "\(parent) is not a directory")
        }
    }

    func walk(to path: String, watchedBy watch: ChangeWatch? = nil) throws(TrustError) -> Walk {
        let path = try examining(path, try absolutePath(path))
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
                    throw TrustError(.untrusted, "\(path) leads over more than \(Self.mostLinks) symbolic links")
                }
                if target.utf8.first == UInt8(ascii: "/") { walk.restart() }
                ahead.append(contentsOf: target.split(separator: "/").reversed())
            }
        }
        return walk
    }
}

/// How far a walk has come: the handles of all directories from the root down.
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
    private var levels: [Level]
    /// What the last step led to.
    private(set) var status: FileStatus
    private(set) var path: String
    private(set) var name = "."
    private(set) var isWatched: Bool

    init(from root: String, owners: TrustedOwners, watch: ChangeWatch?) throws(TrustError) {
        let handle = try examining(
            root,
            try Descriptor.opened(PathCall.openHandle(in: AT_FDCWD)(root), by: "open"))
        let status = try examining(root, try handle.status())
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
    func goUp() throws(TrustError) {
        guard status.kind == .directory else { throw TrustError(.missing, "\(path) is not a directory") }
        if levels.count > 1 { levels.removeLast() }
        (status, path, name) = (here.status, here.path.isEmpty ? "/" : here.path, ".")
    }

    func restart() {
        levels.removeSubrange(1...)
        (status, path, name) = (here.status, "/", ".")
    }

    /// Goes to `name` in the directory where the walk stands. Returns where a symbolic link leads.
    func step(to name: String, isLast: Bool) throws(TrustError) -> String? {
        let parent = here
        let path = parent.path + "/" + name
        let handle = try handle(of: name, in: parent.handle, at: path)
        var status = try examining(path, try handle.status())
        if let watch, status.kind == .directory {
            isWatched = watch.covers(handle, status) && isWatched
            // What it is like is asked anew, so that no change falls between the answer and the watch.
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
    func takeParent() throws(TrustError) -> Descriptor {
        try examining(path, try here.handle.duplicate())
    }
}

extension Descriptor {
    /// What an entry of a directory is, of which this is a handle. Calls `fstatat(2)`.
    fileprivate borrowing func status(of name: String) throws(Failure) -> FileStatus {
        try Kernel.status(name, in: number, AT_SYMLINK_NOFOLLOW, by: "fstatat", on: nil)
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
