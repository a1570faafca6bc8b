// Small functions on paths: they read a whole small file, make a directory, or remove a socket file.
//
// Must never be used for keys or certificates. TrustedFile is for those.

internal import CKernel
internal import Glibc

/// All bytes of a small file. If it has more than `limit` bytes, it fails with `EFBIG`.
package func readSmallFile(_ path: String, limit: Int) throws(Failure) -> [UInt8] {
    let file = try Descriptor.forReading(path)
    return try file.readAll(limit: limit, path)
}

/// The last bytes of a regular file, at most `limit`, and its whole size in bytes. Nil if it is not a regular file.
package func fileTail(_ path: String, limit: Int) throws(Failure) -> (bytes: [UInt8], total: Int)? {
    let file = try Descriptor.forReading(path)
    let status = try file.status()
    guard status.kind == .regular else { return nil }
    return (try file.tail(limit: limit, of: status.size), status.size)
}

extension Descriptor {
    /// The last bytes before the position `size`, at most `limit` of them.
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

    /// All bytes of the file. If it has more than `limit` bytes, it fails with `EFBIG`.
    package borrowing func readAll(limit: Int, _ path: String) throws(Failure) -> [UInt8] {
        var bytes: [UInt8] = []
        // A long policy then needs its memory once, and not twice while the array grows.
        bytes.reserveCapacity(min(max(0, try status().size), limit))
        var chunk = [UInt8](repeating: 0, count: 64 * 1024)
        while true {
            let count = try read(into: &chunk, at: bytes.count)
            if count == 0 { return bytes }
            bytes.append(contentsOf: chunk[..<count])
            if bytes.count > limit { throw Failure("read", code: EFBIG, on: path) }
        }
    }
}

extension Descriptor {
    /// Calls `body` with each line of the file, without its line feed. Keeps a line, and not the whole file.
    /// - Parameter limit: more bytes, or a line of more than 1 MiB, are `EFBIG`.
    borrowing func forEachLine(limit: Int, _ body: (ArraySlice<UInt8>) -> Void) throws(Failure) {
        var chunk = [UInt8](repeating: 0, count: 64 * 1024)
        var (begun, position): ([UInt8], Int) = ([], 0)
        while true {
            let count = try read(into: &chunk, at: position)
            if count == 0 { break }
            position += count
            guard position <= limit, begun.count <= 1 << 20 else { throw Failure("read", code: EFBIG) }
            var rest = chunk[..<count]
            while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                body(begun.isEmpty ? rest[..<end] : begun + rest[..<end])
                begun = []
                rest = rest[(end + 1)...]
            }
            begun += rest
        }
        if !begun.isEmpty { body(begun[...]) }
    }
}

/// The names in a directory without `.` and `..`, sorted by bytes. Calls `readdir(3)`.
package func directoryEntries(_ path: String) throws(Failure) -> [String] {
    try entries(
        ofDirectory: try Descriptor.opened(PathCall.openDirectory(in: AT_FDCWD)(path), by: "opendir", on: path), path)
}

extension Descriptor {
    /// The names in the directory that this is a handle of, in the same way. Needs no `/proc`.
    borrowing func directoryEntries() throws(Failure) -> [String] {
        try entries(ofDirectory: try Descriptor.opened(PathCall.openDirectory(in: number)("."), by: "openat"), nil)
    }
}

private func entries(ofDirectory directory: consuming Descriptor, _ path: String?) throws(Failure) -> [String] {
    let number = directory.release()
    // Safety: the stream is used and closed only in this function, by one thread, and owns the number from here on;
    // d_name is NUL-terminated.
    guard let stream = unsafe fdopendir(number) else {
        let failure = Failure("fdopendir", code: errno, on: path)
        _ = Descriptor(taking: number)
        throw failure
    }
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

/// The path itself if it is absolute. Otherwise the path below the working directory. Calls `getcwd(3)`.
package func absolutePath(_ path: String) throws(Failure) -> String {
    if path.utf8.first == UInt8(ascii: "/") { return path }
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let room = buffer.count
    // Safety: getcwd writes at most `room` bytes, the final NUL included, to the array's own storage.
    guard unsafe getcwd(&buffer, room) != nil else { throw Failure("getcwd", code: errno) }
    let directory = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    return String(decoding: directory, as: UTF8.self) + "/" + path
}

/// An absolute path without `.`, `..` and repeated slashes, to compare it with another. It may not be the same file: what is
/// before `..` may be a symbolic link.
package func normalized(_ path: String) -> String {
    var parts: [Substring] = []
    for part in path.split(separator: "/") where part != "." {
        if part == ".." { _ = parts.popLast() } else { parts.append(part) }
    }
    return "/" + parts.joined(separator: "/")
}

/// The directory that contains the file at an absolute path.
package func folder(of path: String) -> String { "/" + path.split(separator: "/").dropLast().joined(separator: "/") }

/// Flushes the directory that contains `path` to disk, so that a file made there survives a crash. Calls `fsync(2)`.
package func syncDirectory(above path: String) throws(Failure) {
    let parent = folder(of: try absolutePath(path))
    let directory = try Descriptor.opened(PathCall.openDirectory(in: AT_FDCWD)(parent), by: "open", on: parent)
    let number = directory.number
    _ = try retrying("fsync", on: parent) { fsync(number) }
}

/// The status of `path` itself; a symbolic link is not followed. Nil if nothing is there. Calls `lstat(2)`.
package func statusWithoutFollowing(_ path: String) throws(Failure) -> FileStatus? {
    try statusIfThere(path, AT_SYMLINK_NOFOLLOW, by: "lstat")
}

/// The status of what `path` leads to. Nil if nothing is there. Calls `stat(2)`.
package func statusFollowing(_ path: String) throws(Failure) -> FileStatus? {
    try statusIfThere(path, 0, by: "stat")
}

private func statusIfThere(_ path: String, _ flags: Int32, by call: String) throws(Failure) -> FileStatus? {
    do { return try status(path, flags, by: call, on: path) } catch {
        if error.code == ENOENT { return nil }
        throw error
    }
}

/// Makes a directory. Returns false if something of that name exists. Calls `mkdir(2)`, and `chmod(2)` because the
/// umask changes the mode of `mkdir`.
package func makeDirectory(_ path: String, mode: UInt32) throws(Failure) -> Bool {
    do throws(Failure) { _ = try succeed(PathCall.makeDirectory(mode: mode)(path), "mkdir", on: path) } catch {
        if error.code == EEXIST { return false }
        throw error
    }
    _ = try succeed(PathCall.setMode(mode)(path), "chmod", on: path)
    return true
}

/// Runs `body` while the umask is 0, and sets it back. The umask is the whole process's, so no other thread may make files
/// meanwhile. Calls `umask(2)`.
package func withoutUmask<R: ~Copyable>(_ body: () throws(Failure) -> R) throws(Failure) -> R {
    let mask = umask(0)
    defer { _ = umask(mask) }
    return try body()
}

/// Calls `unlink(2)`.
package func removeFile(_ path: String) throws(Failure) {
    _ = try succeed(PathCall.remove(path), "unlink", on: path)
}

/// Calls `chmod(2)`.
package func setMode(_ path: String, _ mode: UInt32) throws(Failure) {
    _ = try succeed(PathCall.setMode(mode)(path), "chmod", on: path)
}

/// Calls `lchown(2)`. Nil leaves that id unchanged.
package func setOwner(_ path: String, uid: UInt32?, gid: UInt32?) throws(Failure) {
    _ = try succeed(PathCall.setOwner(uid: uid ?? .max, gid: gid ?? .max)(path), "lchown", on: path)
}
