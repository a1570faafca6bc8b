// The one way in which a path reaches the kernel: as the NUL-terminated text that C wants.
//
// Must never shorten a path: with a NUL byte in it, it would be another path to the kernel than to us.

internal import CKernel
internal import Glibc

/// A system call on a path. `directory` is what a relative path begins at.
enum PathCall {
    /// A handle (`O_PATH`) of the thing itself, links not followed; of what the path leads to.
    case openHandle(in: Int32), openTarget
    /// Nothing of it blocks, and no link is followed.
    case openForReading(in: Int32), openForAppending(mode: UInt32)
    /// As any program does, links followed.
    case openPlainly
    case openDirectory
    case bind(Int32), connect(Int32)
    case watch(by: Int32, for: UInt32)
    case makeDirectory(mode: UInt32), setMode(UInt32), setOwner(uid: UInt32, gid: UInt32), remove

    /// Calls. Returns the negative errno if that fails; `EINVAL` if the path has a NUL byte.
    func callAsFunction(_ path: String) -> Int32 {
        guard !path.hasNUL else { return -EINVAL }
        // Safety: a Swift string without NUL is passed as a NUL-terminated C string for the length of the call.
        return switch self {
        case .openHandle(let directory): unsafe ck_open_handle(directory, path)
        case .openTarget: unsafe ck_open_target(path)
        case .openForReading(let directory): unsafe ck_open_for_reading(directory, path)
        case .openForAppending(let mode): unsafe ck_open_for_appending(path, mode)
        case .openPlainly: unsafe outcome(open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC))
        case .openDirectory: unsafe ck_open_directory(path)
        case .bind(let socket): unsafe ck_bind(socket, path)
        case .connect(let socket): unsafe ck_connect(socket, path)
        case .watch(let watch, let events): unsafe outcome(inotify_add_watch(watch, path, events))
        case .makeDirectory(let mode): unsafe outcome(mkdir(path, mode))
        case .setMode(let mode): unsafe outcome(chmod(path, mode))
        case .setOwner(let uid, let gid): unsafe outcome(lchown(path, uid, gid))
        case .remove: unsafe outcome(unlink(path))
        }
    }

    /// As the functions of CKernel return it. Calls again if a signal came between.
    private func outcome(_ call: @autoclosure () -> Int32) -> Int32 {
        while true {
            let result = call()
            if result >= 0 { return result }
            let code = errno
            if code != EINTR { return -code }
        }
    }
}

/// What is at a path. Calls `fstatat(2)`, or that of the same kind which `call` names.
func status(
    _ path: String, in directory: Int32 = AT_FDCWD, _ flags: Int32, by call: String, on subject: String?
) throws(Failure) -> FileStatus {
    guard !path.hasNUL else { throw Failure(call, code: EINVAL, on: subject) }
    var raw = stat()
    // Safety: fstatat reads a NUL-terminated C string and fills the one struct it is given.
    _ = try retrying(call, on: subject) { unsafe fstatat(directory, path, &raw, flags) }
    return FileStatus(raw)
}

extension String {
    var hasNUL: Bool { utf8.contains(0) }
}

extension Descriptor {
    /// A file, open for reading; a link at its end is not followed, and nothing of it blocks. Calls `open(2)`.
    package static func forReading(_ path: String) throws(Failure) -> Descriptor {
        try opened(PathCall.openForReading(in: AT_FDCWD)(path), by: "open", on: path)
    }

    /// The same, as any program opens a file: links are followed. Calls `open(2)`.
    package static func forReading(followingLinksOf path: String) throws(Failure) -> Descriptor {
        try opened(PathCall.openPlainly(path), by: "open", on: path)
    }

    /// Has this inotify instance tell of what happens in a directory. Calls `inotify_add_watch(2)`.
    package borrowing func watch(_ folder: String, for events: UInt32) throws(Failure) {
        _ = try succeed(PathCall.watch(by: number, for: events)(folder), "inotify_add_watch", on: folder)
    }
}
