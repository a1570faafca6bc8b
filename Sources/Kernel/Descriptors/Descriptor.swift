// A file descriptor with one owner. It is closed when that owner goes away.
//
// Must never be copied or closed twice. Must never leave this target as a bare number, except through `release()`:
// after that the receiver has to close it.

internal import CKernel
internal import Glibc

/// An open file descriptor with one owner.
///
/// `deinit` calls `close(2)` and ignores its errors: on Linux the descriptor is closed even if the call fails, and no
/// descriptor of this program has data that only `close` would flush.
package struct Descriptor: ~Copyable, Sendable {
    /// -1 after ``take()``.
    private(set) var number: Int32

    /// Takes over a descriptor. Nobody else may close it.
    package init(taking number: Int32) { self.number = number }

    deinit { if number >= 0 { _ = close(number) } }

    /// Takes the descriptor out of its place, which has none from then on.
    mutating func take() -> Descriptor {
        defer { number = -1 }
        return Descriptor(taking: number)
    }

    /// Gives the descriptor away. The caller has to close it.
    package consuming func release() -> Int32 {
        let number = number
        discard self
        return number
    }

    /// Passes the number to `body`. It is valid only while `body` runs.
    package borrowing func withNumber<R: ~Copyable, E: Error>(
        _ body: (Int32) throws(E) -> R
    ) throws(E) -> R {
        try body(number)
    }

    /// Takes ownership of the descriptor that a C function returned, or throws the failure that it returned instead.
    /// - Parameter call: the system call behind the function.
    package static func opened(
        _ result: Int32, by call: String, on subject: String? = nil
    ) throws(Failure) -> Descriptor {
        Descriptor(taking: try succeed(result, call, on: subject))
    }

    /// A new close-on-exec descriptor of the same open file description. Calls `fcntl(F_DUPFD_CLOEXEC)`.
    package borrowing func duplicate() throws(Failure) -> Descriptor {
        let number = number
        return Descriptor(taking: try retrying("fcntl") { fcntl(number, F_DUPFD_CLOEXEC, 3) })
    }

    /// Reads at `offset` and returns the number of bytes; 0 means the end of the file. Calls `pread(2)`, which does not
    /// move the file offset: all copies of a descriptor that was passed on share that offset.
    package borrowing func read(
        into buffer: inout MutableRawSpan, at offset: Int
    ) throws(Failure) -> Int {
        let number = number
        // Safety: pread writes at most `bytes.count` bytes into memory that the span holds exclusively.
        return try unsafe buffer.withUnsafeMutableBytes { bytes throws(Failure) in
            try retrying("pread") { unsafe pread(number, bytes.baseAddress, bytes.count, off_t(offset)) }
        }
    }

    /// Reads into an array, in the same way.
    package borrowing func read(into buffer: inout [UInt8], at offset: Int) throws(Failure) -> Int {
        var elements = buffer.mutableSpan
        // Safety: any byte is a valid UInt8.
        var bytes = unsafe elements.mutableBytes
        return try read(into: &bytes, at: offset)
    }

    /// Writes all of `bytes`, in as many calls of `write(2)` as it takes.
    package borrowing func writeAll(_ bytes: Span<UInt8>) throws(Failure) {
        var written = 0
        try writeAll(bytes, counting: &written)
    }

    /// Writes all of `bytes`.
    /// - Parameter written: grows by the number of bytes that were written, even if the rest failed.
    borrowing func writeAll(_ bytes: Span<UInt8>, counting written: inout Int) throws(Failure) {
        let number = number
        var done = 0
        while done < bytes.count {
            let rest = bytes.extracting(droppingFirst: done)
            // Safety: write only reads the bytes that the span covers.
            let count = try unsafe rest.withUnsafeBufferPointer { rest throws(Failure) in
                try retrying("write") { unsafe write(number, rest.baseAddress, rest.count) }
            }
            done += count
            written += count
        }
    }

    /// Writes all of an array.
    package borrowing func writeAll(_ bytes: [UInt8]) throws(Failure) { try writeAll(bytes.span) }

    /// A copy of the first `size` bytes in a file in memory. Calls `memfd_create(2)` and `sendfile(2)`.
    package borrowing func copiedInMemory(size: Int) throws(Failure) -> Descriptor {
        try Descriptor.opened(ck_copy_in_memory(number, size), by: "sendfile")
    }

    /// The next connection to a listening socket, non-blocking and close-on-exec. Nil if no connection waits. Calls
    /// `accept4(2)`.
    package borrowing func acceptConnection() throws(Failure) -> Descriptor? {
        let result = ck_accept(number)
        switch -result {
        // accept(2) reports these errors for a connection that failed meanwhile. The listener itself is fine.
        case EAGAIN, EINTR, ECONNABORTED, EPROTO, ENETDOWN, EHOSTDOWN, EHOSTUNREACH, ENETUNREACH: return nil
        default: return try Descriptor.opened(result, by: "accept4")
        }
    }

    /// The file's status. Calls `fstat(2)`.
    package borrowing func status() throws(Failure) -> FileStatus {
        var raw = stat()
        let number = number
        // Safety: fstat fills the one struct it is given.
        _ = try retrying("fstat") { unsafe fstat(number, &raw) }
        return FileStatus(raw)
    }
}
