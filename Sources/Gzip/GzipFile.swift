// Reads a gzip file (RFC 1952) and decompresses it with zlib. logrotate compresses old logs so.
//
// This file may use `unsafe`, because it wraps C. The daemon does not contain it. Must never take a file that is
// damaged or cut off for one that ends there.

internal import CZlib
package import Kernel
internal import FileReading

/// Reads the decompressed bytes of a gzip file from its start. Calls `gzread`.
@safe package struct GzipFile: ~Copyable, ByteSource {
    // Safety: the stream belongs to this value alone, from its making to its end.
    private let stream: gzFile
    private let path: String

    /// - Parameter file: the open file. This value takes it over.
    package init(_ file: consuming Descriptor, path: String) throws(Failure) {
        let number = file.release()
        // Safety: the mode is a constant; zlib owns the descriptor from here on.
        guard let stream = unsafe gzdopen(number, "rb") else {
            _ = Descriptor(taking: number)
            throw Failure("gzdopen", code: Failure.noMemory, on: path)
        }
        unsafe self.stream = stream
        self.path = path
    }

    // Safety: nothing else refers to the stream.
    deinit { unsafe _ = gzclose(stream) }

    package mutating func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
        // Safety: the stream is this value's own, and open.
        let stream = unsafe stream
        // Safety: gzread writes at most as many bytes as the array holds.
        let count = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe gzread(stream, bytes.baseAddress, UInt32(clamping: bytes.count))
        }
        var code: Int32 = Z_OK
        // Safety: the call fills the one number it is given; its text is not used.
        unsafe _ = gzerror(stream, &code)
        guard count > 0 || code == Z_OK || code == Z_STREAM_END else {
            throw Failure("gunzip", code: Failure.badData, on: path)
        }
        return Int(count)
    }
}
