// Whether anything on the ways to the keys has changed: inotify on directories and symbolic links.
//
// The trust in a directory is established once per change, not once per request. Only events of the
// things themselves count (moved, deleted, owner, mode or links changed), so that nobody can make the
// daemon forget by what they do in /tmp. Must never be the only guard: a watch that cannot be had means that the
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
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let number = descriptor.number
            // Safety: read writes at most as many bytes as the array holds.
            let count = unsafe buffer.withUnsafeMutableBytes { unsafe read(number, $0.baseAddress, $0.count) }
            if count <= 0 { return changed }
            if isAboutTheThingsThemselves(buffer[..<count]) { changed = true }
        }
    }

    /// The kernel also tells of new attributes of what is in a watched directory, with its name: in `/tmp`
    /// everybody could make us forget. A lost event (`IN_Q_OVERFLOW`) has no name, and counts.
    private func isAboutTheThingsThemselves(_ events: ArraySlice<UInt8>) -> Bool {
        // struct inotify_event: wd, mask, cookie, len, of four bytes each, and len bytes of a name.
        let headerBytes = 16
        var rest = events
        while rest.count >= headerBytes {
            let nameBytes = rest.dropFirst(headerBytes - 4).prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
            if nameBytes == 0 { return true }
            rest = rest.dropFirst(headerBytes + nameBytes)
        }
        return false
    }
}
