// A file in memory that a program can open by its descriptor, as it opens any other file.
//
// Must never be given to another account: whoever owns it can change its mode. Must never hold bytes that were copied
// on the way to it.

internal import CKernel
internal import Glibc
package import Kernel

/// A file that has no path but `/proc/self/fd/N` (`memfd_create(2)`). It has mode 0400 and belongs to this account.
package struct MemoryFile: ~Copyable, Sendable {
    package let descriptor: Descriptor
    private var size = 0

    /// Makes an empty file.
    /// - Parameter name: shown in `/proc/PID/fd`, and nothing more. At most 249 bytes are taken.
    package init(named name: String) throws(Failure) {
        // Safety: the call reads a NUL-terminated string, and a NUL inside of it would only shorten the name.
        descriptor = try unsafe Descriptor.opened(ck_memory_file(name), by: "memfd_create")
    }

    /// Writes the bytes at the end. Calls `pwrite(2)`, so the file offset, which all copies of the descriptor share,
    /// stays at the beginning.
    package mutating func append(_ bytes: Span<UInt8>) throws(Failure) {
        var done = 0
        while done < bytes.count {
            let rest = bytes.extracting(droppingFirst: done)
            let offset = off_t(size)
            let number = descriptor.withNumber { $0 }
            // Safety: pwrite only reads the bytes that the span covers.
            let count = try unsafe rest.withUnsafeBufferPointer { rest throws(Failure) in
                try retrying("pwrite") { unsafe pwrite(number, rest.baseAddress, rest.count, offset) }
            }
            done += count
            size += count
        }
    }

    /// Makes the content final: nobody can change it any more, its owner neither. Calls `fcntl(F_ADD_SEALS)`.
    package borrowing func seal() throws(Failure) {
        _ = try succeed(ck_seal(descriptor.withNumber { $0 }), "fcntl F_ADD_SEALS")
    }
}
