// Waits until something changes in a directory: a file grows, appears, disappears or is renamed. It is for readers that
// follow a log. The daemon uses `ChangeWatch` instead.

internal import CKernel
internal import Glibc
package import Kernel

/// An inotify instance on one directory.
package struct FolderWatch: ~Copyable {
    private let descriptor: Descriptor

    /// Calls `inotify_init1(2)` and `inotify_add_watch(2)`.
    package init(_ folder: String) throws(Failure) {
        let watch = Descriptor(
            taking: try retrying("inotify_init1") { inotify_init1(Int32(IN_CLOEXEC | IN_NONBLOCK)) })
        let events = UInt32(IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE)
        try watch.watch(folder, for: events)
        descriptor = watch
    }

    /// Waits for the next event, or until a moment, and discards all events that have arrived. Calls `poll(2)` and
    /// `read(2)`.
    package borrowing func wait(until end: Instant = .never) throws(Failure) {
        _ = try waitUntilReadable(descriptor, until: end)
        var buffer = [UInt8](repeating: 0, count: 4096)
        let number = descriptor.withNumber { $0 }
        // Safety: read writes at most as many bytes as the array holds.
        while unsafe buffer.withUnsafeMutableBytes({ unsafe read(number, $0.baseAddress, $0.count) }) > 0 {}
    }
}
