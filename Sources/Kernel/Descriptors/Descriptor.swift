// A file descriptor that has one owner, and is closed when that owner goes.
//
// Must never be copied, closed twice or leave this target as a bare number, save through `release()`,
// after which it is the taker's to close.

internal import CKernel
internal import Glibc

/// An open file descriptor with one owner.
///
/// The end of its life calls `close(2)`. Errors of `close` are not reported: on Linux the descriptor
/// is gone either way, and none of ours has written data that only `close` would flush.
package struct Descriptor: ~Copyable, Sendable {
    let number: Int32

    /// Takes over a descriptor that nobody else will close.
    package init(taking number: Int32) { self.number = number }

    deinit { _ = close(number) }

    /// Gives the descriptor away: the caller closes it.
    package consuming func release() -> Int32 {
        let number = number
        discard self
        return number
    }

    /// Lets `body` see the number, for as long as it runs.
    package borrowing func withNumber<R: ~Copyable, E: Error>(
        _ body: (Int32) throws(E) -> R
    ) throws(E) -> R {
        try body(number)
    }

    /// The result of a C function on a new descriptor, owned. `call` names the system call behind it.
    package static func opened(
        _ result: Int32, by call: String, on subject: String? = nil
    ) throws(Failure) -> Descriptor {
        Descriptor(taking: try succeed(result, call, on: subject))
    }

    /// A new, close-on-exec descriptor of the same open file. Calls `fcntl(F_DUPFD_CLOEXEC)`.
    package borrowing func duplicate() throws(Failure) -> Descriptor {
        let number = number
        return Descriptor(taking: try retrying("fcntl") { fcntl(number, F_DUPFD_CLOEXEC, 3) })
    }

    /// Reads at `offset` without moving the file's own offset, which every copy of a passed descriptor
    /// shares. Calls `pread(2)`. Zero is the end of the file.
    package borrowing func read(
        into buffer: inout MutableRawSpan, at offset: Int
    ) throws(Failure) -> Int {
        let number = number
        // Safety: pread writes at most `bytes.count` bytes into memory that the span holds exclusively.
        return try unsafe buffer.withUnsafeMutableBytes { bytes throws(Failure) in
            try retrying("pread") { unsafe pread(number, bytes.baseAddress, bytes.count, off_t(offset)) }
        }
    }

    /// The same, into an array's elements.
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

    /// - Parameter written: grows by what was written, also if the rest of it failed.
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

    /// The next connection to a listening socket, non-blocking and close-on-exec; nil where none waits.
    /// Calls `accept4(2)`.
    package borrowing func acceptConnection() throws(Failure) -> Descriptor? {
        let result = ck_accept(number)
        switch -result {
        // What accept(2) reports of a connection that failed meanwhile is not the listener's trouble.
        case EAGAIN, EINTR, ECONNABORTED, EPROTO, ENETDOWN, EHOSTDOWN, EHOSTUNREACH, ENETUNREACH: return nil
        default: return try Descriptor.opened(result, by: "accept4")
        }
    }

    /// What `fstat(2)` says of it.
    package borrowing func status() throws(Failure) -> FileStatus {
        var raw = stat()
        let number = number
        // Safety: fstat fills the one struct it is given.
        _ = try retrying("fstat") { unsafe fstat(number, &raw) }
        return FileStatus(raw)
    }
}
