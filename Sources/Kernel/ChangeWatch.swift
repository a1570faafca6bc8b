// Whether anything on the ways to the keys has changed: inotify on directories and symbolic links.
//
// The trust in a directory is established once per change, not once per request. Only events of the
// things themselves are asked for (moved, deleted, owner, mode or links changed), so that what others
// do in /tmp costs nothing. Must never be the only guard: a watch that cannot be had means that the
// way is walked each time, and the file itself is checked on its descriptor always.

internal import CKernel
internal import Glibc

/// An inotify instance that tells that something changed, not what.
package final class ChangeWatch: Sendable {
    package let descriptor: Descriptor

    /// Calls `inotify_init1(2)`.
    package init() throws(Failure) {
        descriptor = Descriptor(
            taking: try retrying("inotify_init1") {
                inotify_init1(Int32(IN_CLOEXEC | IN_NONBLOCK))
            })
    }

    /// Starts to watch what the handle stands for. False where the kernel will not. Calls
    /// `inotify_add_watch(2)` on `/proc/self/fd/N`, which leads to just that inode.
    func add(_ handle: borrowing Descriptor) -> Bool {
        let events = IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF
        // Safety: a Swift string is passed as a NUL-terminated C string for the length of the call.
        return unsafe inotify_add_watch(
            descriptor.number, "/proc/self/fd/\(handle.number)", UInt32(events)) >= 0
    }

    /// Whether anything changed since the last call, which empties the queue.
    package func hasChanged() -> Bool {
        var changed = false
        var scrap = [UInt8](repeating: 0, count: 4096)
        while true {
            let number = descriptor.number
            // Safety: read writes at most as many bytes as the array holds.
            let count = unsafe scrap.withUnsafeMutableBytes { unsafe read(number, $0.baseAddress, $0.count) }
            if count <= 0 { return changed }
            changed = true
        }
    }
}
