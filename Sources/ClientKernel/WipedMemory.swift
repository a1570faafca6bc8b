// Memory for a private key in a client. It is kept out of core dumps, swap and child processes, and overwritten at the
// end of its life.
//
// Must never be copied or grow. Must never be used in the daemon, which does not read keys.

internal import CKernel
internal import Glibc
package import Kernel

/// A block of pages that holds a secret (`mmap(2)`, `mlock(2)`, `MADV_DONTDUMP`, `MADV_WIPEONFORK`).
@safe package struct WipedMemory: ~Copyable, @unchecked Sendable {
    // Safety: the pages belong to this value alone, from mmap to munmap, and are read-only to others.
    private let base: UnsafeMutableRawPointer
    private let room: Int
    /// The size of the secret in bytes.
    package private(set) var count: Int

    /// The failure of reading a file that somebody writes to at the same time.
    package static let changed = Failure("read", code: EAGAIN, because: "it changed while it was read")

    /// Reads a whole regular file. Calls `pread(2)`, which does not move the file offset that other processes share, and
    /// `fstat(2)` before and after. If the file has more than `limit` bytes, it fails with `EFBIG`; if its size or the time
    /// of its last change was another one afterwards, with ``changed``.
    package static func contents(of file: borrowing Descriptor, limit: Int) throws(Failure) -> WipedMemory {
        let before = try file.status()
        let size = before.size
        guard size <= limit else { throw Failure("read", code: EFBIG) }
        // One byte more than the size, to notice a file that grows meanwhile.
        var memory = try WipedMemory(room: size + 1)
        while try memory.fill(from: file) {}
        guard memory.count == size, ContentMark(try file.status()) == ContentMark(before) else { throw changed }
        return memory
    }

    /// Reads more of the file. Returns false at the end of the file or of the memory.
    private mutating func fill(from file: borrowing Descriptor) throws(Failure) -> Bool {
        // Safety: the span covers the unused part of the pages that this value owns.
        var rest = unsafe MutableRawSpan(_unsafeStart: base + count, byteCount: room - count)
        let read = try file.read(into: &rest, at: count)
        count += read
        return read > 0
    }

    private init(room: Int) throws(Failure) {
        let protection = PROT_READ | PROT_WRITE
        // Safety: fresh pages of our own; nothing else refers to them.
        guard let base = unsafe mmap(nil, room, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            unsafe base != MAP_FAILED
        else { throw Failure("mmap", code: errno) }
        unsafe self.base = base
        self.room = room
        count = 0
        // Both may fail: the key is useful even if RLIMIT_MEMLOCK is low.
        unsafe _ = mlock(base, room)
        unsafe _ = ck_keep_private(base, room)
    }

    deinit {
        // Safety: the pages are ours until munmap; explicit_bzero is not optimised away.
        unsafe explicit_bzero(base, room)
        unsafe munmap(base, room)
    }

    /// Passes the secret to `body`. It is valid only while `body` runs.
    package borrowing func withBytes<R: ~Copyable, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
        // Safety: the span ends with the call, the pages with this value, which is borrowed meanwhile; any
        // byte of them is a valid UInt8.
        let bytes = unsafe base.assumingMemoryBound(to: UInt8.self)
        return try body(unsafe Span(_unsafeStart: bytes, count: count))
    }
}
