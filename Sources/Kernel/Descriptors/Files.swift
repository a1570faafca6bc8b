// Small errands on paths: reading a whole small file, making a directory, the life of a socket's file.
//
// Must never be used for keys or certificates: those are TrustedFile's.

internal import CKernel
internal import Glibc

/// All bytes of a file that is expected to be short; more than `limit` is a failure (`EFBIG`).
package func readSmallFile(_ path: String, limit: Int) throws(Failure) -> [UInt8] {
    // Safety: a Swift string is passed as a NUL-terminated C string for the length of the call.
    let file = try unsafe Descriptor.opened(ck_open_for_reading(AT_FDCWD, path), by: "open", on: path)
    return try file.readAll(limit: limit, path)
}

/// The last bytes of a regular file, at most `limit`, and how many it has in all; nil of anything else.
package func fileTail(_ path: String, limit: Int) throws(Failure) -> (bytes: [UInt8], total: Int)? {
    // Safety: a Swift string is passed as a NUL-terminated C string for the length of the call.
    let file = try unsafe Descriptor.opened(ck_open_for_reading(AT_FDCWD, path), by: "open", on: path)
    let status = try file.status()
    guard status.kind == .regular else { return nil }
    return (try file.tail(limit: limit, of: status.size), status.size)
}

extension Descriptor {
    /// The last bytes before `size`, at most `limit`.
    borrowing func tail(limit: Int, of size: Int) throws(Failure) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: min(limit, 64 * 1024))
        var position = max(0, size - limit)
        while position < size {
            let count = try read(into: &chunk, at: position)
            if count == 0 { break }
            bytes.append(contentsOf: chunk[..<min(count, size - position)])
            position += count
        }
        return bytes
    }

    /// All bytes from the start to the end; more than `limit` is a failure (`EFBIG`).
    package borrowing func readAll(limit: Int, _ path: String) throws(Failure) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 * 1024)
        while true {
            let count = try read(into: &chunk, at: bytes.count)
            if count == 0 { return bytes }
            bytes.append(contentsOf: chunk[..<count])
            if bytes.count > limit { throw Failure("read", code: EFBIG, on: path) }
        }
    }
}

/// The names in a directory, without `.` and `..`, sorted by their bytes. Calls `readdir(3)`.
package func directoryEntries(_ path: String) throws(Failure) -> [String] {
    // Safety: the stream is used and closed in here, by one thread; d_name is NUL-terminated.
    guard let stream = unsafe opendir(path) else { throw Failure("opendir", code: errno, on: path) }
    defer { unsafe closedir(stream) }
    var names: [String] = []
    errno = 0
    while let entry = unsafe readdir(stream) {
        let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
            unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
        }
        if name != "." && name != ".." { names.append(name) }
    }
    if errno != 0 { throw Failure("readdir", code: errno, on: path) }
    return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
}

/// The path as seen from the root: where it is relative, with the working directory before it. Calls
/// `getcwd(3)`.
package func absolutePath(_ path: String) throws(Failure) -> String {
    if path.utf8.first == UInt8(ascii: "/") { return path }
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let room = buffer.count
    // Safety: getcwd writes at most `room` bytes, a NUL among them, to the array's own storage.
    guard unsafe getcwd(&buffer, room) != nil else { throw Failure("getcwd", code: errno) }
    let directory = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    return String(decoding: directory, as: UTF8.self) + "/" + path
}

/// The directory that an absolute path is in.
package func folder(of path: String) -> String { "/" + path.split(separator: "/").dropLast().joined(separator: "/") }

/// Puts the names in the directory above `path` on disk, as after making a file there. Calls `fsync(2)`.
package func syncDirectory(above path: String) throws(Failure) {
    let parent = folder(of: try absolutePath(path))
    // Safety: a Swift string is passed as a NUL-terminated C string for the length of the call.
    let directory = try unsafe Descriptor.opened(ck_open_directory(parent), by: "open", on: parent)
    let number = directory.number
    _ = try retrying("fsync", on: parent) { fsync(number) }
}

/// What is at `path` itself, a symbolic link not followed; nil where nothing is. Calls `lstat(2)`.
package func statusWithoutFollowing(_ path: String) throws(Failure) -> FileStatus? {
    // Safety: lstat fills the one struct it is given.
    try status("lstat", path) { raw in unsafe lstat(path, &raw) }
}

/// What `path` leads to; nil where nothing is. Calls `stat(2)`.
package func statusFollowing(_ path: String) throws(Failure) -> FileStatus? {
    // Safety: stat fills the one struct it is given.
    try status("stat", path) { raw in unsafe stat(path, &raw) }
}

private func status(_ call: String, _ path: String, _ body: (inout stat) -> Int32) throws(Failure) -> FileStatus? {
    var raw = stat()
    do { _ = try retrying(call, on: path) { body(&raw) } } catch {
        if error.code == ENOENT { return nil }
        throw error
    }
    return FileStatus(raw)
}

/// Calls `mkdir(2)` and, as that is subject to the umask, `chmod(2)`. False where it exists already.
package func makeDirectory(_ path: String, mode: UInt32) throws(Failure) -> Bool {
    // Safety: a Swift string is passed as a NUL-terminated C string for the length of the call.
    do throws(Failure) { _ = try retrying("mkdir", on: path) { unsafe mkdir(path, mode) } } catch {
        if error.code == EEXIST { return false }
        throw error
    }
    // Safety: a Swift string is passed as a NUL-terminated C string for the length of the call.
    _ = try retrying("chmod", on: path) { unsafe chmod(path, mode) }
    return true
}

/// Calls `unlink(2)`.
package func removeFile(_ path: String) throws(Failure) {
    // Safety: a Swift string is passed as a NUL-terminated C string for the length of the call.
    _ = try retrying("unlink", on: path) { unsafe unlink(path) }
}

/// Calls `chmod(2)`.
package func setMode(_ path: String, _ mode: UInt32) throws(Failure) {
    // Safety: a Swift string is passed as a NUL-terminated C string for the length of the call.
    _ = try retrying("chmod", on: path) { unsafe chmod(path, mode) }
}

/// Calls `lchown(2)`; nil leaves an id as it is.
package func setOwner(_ path: String, uid: UInt32?, gid: UInt32?) throws(Failure) {
    // Safety: a Swift string is passed as a NUL-terminated C string for the length of the call.
    _ = try retrying("lchown", on: path) { unsafe lchown(path, uid ?? .max, gid ?? .max) }
}
