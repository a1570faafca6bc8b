// The only place that passes a path to the kernel: as NUL-terminated text, as C needs it.
//
// Must never pass on a path that contains a NUL byte: the kernel would see a shorter path than this program checked.

internal import CKernel
internal import Glibc

/// A system call on a path. A relative path starts at the directory `in`.
enum PathCall {
    /// An `O_PATH` handle: of the file itself, without following a link, or of what the path leads to.
    case openHandle(in: Int32), openTarget
    /// Opening never blocks, and does not follow a link.
    case openForReading(in: Int32), openForAppending(mode: UInt32)
    /// Opens the file as most programs do: links are followed.
    case openPlainly
    case openDirectory(in: Int32)
    case bind(Int32), connect(Int32), connectWithin(Int32, milliseconds: Int32)
    case watch(by: Int32, for: UInt32)
    case makeDirectory(mode: UInt32), setMode(UInt32), setOwner(uid: UInt32, gid: UInt32), remove

    /// Makes the call. Returns the negative errno if it fails, `-EINVAL` if the path contains a NUL byte.
    func callAsFunction(_ path: String) -> Int32 {
        guard !path.hasNUL else { return -EINVAL }
        // Safety: a Swift string without NUL is passed as a NUL-terminated C string for the length of the call.
        return switch self {
        case .openHandle(let directory): unsafe ck_open_handle(directory, path)
        case .openTarget: unsafe ck_open_target(path)
        case .openForReading(let directory): unsafe ck_open_for_reading(directory, path)
        case .openForAppending(let mode): unsafe ck_open_for_appending(path, mode)
        case .openPlainly: unsafe outcome(open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC))
        case .openDirectory(let directory): unsafe ck_open_directory(directory, path)
        case .bind(let socket): unsafe ck_bind(socket, path)
        case .connect(let socket): unsafe ck_connect(socket, path)
        case .connectWithin(let socket, let milliseconds): unsafe ck_connect_within(socket, path, milliseconds)
        case .watch(let watch, let events): unsafe outcome(inotify_add_watch(watch, path, events))
        case .makeDirectory(let mode): unsafe outcome(mkdir(path, mode))
        case .setMode(let mode): unsafe outcome(chmod(path, mode))
        case .setOwner(let uid, let gid): unsafe outcome(lchown(path, uid, gid))
        case .remove: unsafe outcome(unlink(path))
        }
    }

    /// Calls again if a signal interrupted the call. Returns what the functions of CKernel return.
    private func outcome(_ call: @autoclosure () -> Int32) -> Int32 {
        while true {
            let result = call()
            if result >= 0 { return result }
            let code = errno
            if code != EINTR { return -code }
        }
    }
}

/// The status of the file at a path. Calls `fstatat(2)`; `call` is the name for it in a failure.
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
    /// Opens a file for reading. It does not follow a link at the end of the path, and never blocks. Calls `open(2)`.
    package static func forReading(_ path: String) throws(Failure) -> Descriptor {
        try opened(PathCall.openForReading(in: AT_FDCWD)(path), by: "open", on: path)
    }

    /// Opens a file for reading, and follows links as most programs do. Calls `open(2)`.
    package static func forReading(followingLinksOf path: String) throws(Failure) -> Descriptor {
        try opened(PathCall.openPlainly(path), by: "open", on: path)
    }

    /// Watches a directory for events with this inotify instance. Calls `inotify_add_watch(2)`.
    package borrowing func watch(_ folder: String, for events: UInt32) throws(Failure) {
        _ = try succeed(PathCall.watch(by: number, for: events)(folder), "inotify_add_watch", on: folder)
    }
}

/// A path as C needs it, for a file that is opened again and again.
struct ReadyPath: Sendable {
    /// NUL-terminated. Nil if the path contains a NUL byte.
    private let text: [CChar]?

    init(_ path: String) {
        text = path.hasNUL ? nil : path.utf8.map { CChar(bitPattern: $0) } + [0]
    }

    /// Opens the file as ``PathCall/openForReading(in:)`` does, and returns the same.
    func openForReading(in directory: Int32) -> Int32 {
        guard let text else { return -EINVAL }
        // Safety: the array ends with NUL, and is valid for the length of the call.
        return unsafe text.withUnsafeBufferPointer { unsafe ck_open_for_reading(directory, $0.baseAddress) }
    }
}
