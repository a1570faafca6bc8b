// A file in memory that a program can open by its descriptor, as it opens any other file.
//
// Must never be given to another account: whoever owns it can change its mode. Must never hold bytes that were copied
// on the way to it.

internal import CKernel
internal import Glibc
package import Kernel

/// A file that has no path but `/proc/self/fd/N` (`memfd_create(2)`). It has mode 0400 and belongs to this account.
package struct MemoryFile: ~Copyable, Sendable {
    private let descriptor: Descriptor
    private var size = 0
    /// The time of the last change that was set.
    private var changed: WallTime?

    /// Makes an empty file.
    /// - Parameter name: shown in `/proc/PID/fd`, and nothing more. At most 249 bytes are taken.
    package init(named name: String) throws(Failure) {
        // Safety: the call reads a NUL-terminated string, and a NUL inside of it would only shorten the name.
        descriptor = try unsafe Descriptor.opened(ck_memory_file(name), by: "memfd_create")
    }

    /// Writes the bytes at the end. Calls `pwrite(2)`, so the file offset, which all copies of the descriptor share,
    /// stays at the beginning. Beyond the limit of file sizes it fails with `EFBIG`; no `SIGXFSZ` ends this process.
    package mutating func append(_ bytes: Span<UInt8>) throws(Failure) {
        var done = 0
        while done < bytes.count {
            let rest = bytes.extracting(droppingFirst: done)
            let offset = size
            let number = descriptor.withNumber { $0 }
            // Safety: the call only reads the bytes that the span covers.
            let result = unsafe rest.withUnsafeBufferPointer { rest in
                unsafe ck_write_unsignalled(number, rest.baseAddress, rest.count, offset)
            }
            if result == -Int(EINTR) { continue }
            guard result >= 0 else { throw Self.failureOfWriting(Int32(-result)) }
            done += result
            size += result
        }
    }

    private static func failureOfWriting(_ code: Int32) -> Failure {
        guard code == EFBIG else { return Failure("pwrite", code: code) }
        return Failure(
            "pwrite", code: code,
            because: "the limit of file sizes holds for files in memory, too; raise it (LimitFSIZE=, ulimit -f)")
    }

    /// Makes the content final, and returns the file: nobody can change it any more, its owner neither. Calls
    /// `fcntl(F_ADD_SEALS)`.
    package consuming func sealed() throws(Failure) -> Descriptor {
        _ = try succeed(ck_seal(descriptor.withNumber { $0 }), "fcntl F_ADD_SEALS")
        return descriptor
    }

    /// A descriptor that only reads, for others. Whoever has it can open the file again for reading alone, as the mode
    /// of the file is 0400, and cannot seal it. Calls `fcntl(F_ADD_SEALS)` and `open(2)` on `/proc/self/fd`.
    package borrowing func forReaders() throws(Failure) -> Descriptor {
        let number = descriptor.withNumber { $0 }
        _ = try succeed(ck_forbid_seals(number), "fcntl F_ADD_SEALS")
        return try Descriptor.opened(ck_open_again(number), by: "open", on: "/proc/self/fd/\(number)")
    }

    /// Takes all bytes away. Calls `ftruncate(2)`.
    package mutating func empty() throws(Failure) {
        let number = descriptor.withNumber { $0 }
        _ = try retrying("ftruncate") { ftruncate(number, 0) }
        size = 0
    }

    /// Sets the time of the last change to now, or to the next whole second if it would be in the same second as the one
    /// before: there are programs that compare whole seconds. Calls `futimens(2)`.
    package mutating func markChanged() throws(Failure) {
        let now = WallTime.now
        let earliest = (changed?.seconds ?? 0) + 1
        let time = now.seconds >= earliest ? now : WallTime(seconds: earliest, nanoseconds: 0)
        let stamp = timespec(tv_sec: time.seconds, tv_nsec: time.nanoseconds)
        let number = descriptor.withNumber { $0 }
        // Safety: the call reads two structs, which the array holds: of the last access and of the last change.
        _ = try retrying("futimens") { unsafe futimens(number, [stamp, stamp]) }
        changed = time
    }
}
