// A text, line by line, however long it is.
//
// Must never hold more of it than one line and one chunk.

internal import CKernel
internal import Glibc
package import Kernel

/// Bytes that are read from their start to their end.
package protocol ByteSource: ~Copyable {
    /// The next bytes, into the front of the buffer, and how many; 0 at the end.
    mutating func read(into buffer: inout [UInt8]) throws(Failure) -> Int
}

/// A regular file as it is. It may grow while it is read.
package struct FileBytes: ~Copyable, ByteSource {
    package let descriptor: Descriptor
    private var position = 0

    package init(_ path: String) throws(Failure) {
        // Safety: a Swift string is passed as a NUL-terminated C string for the length of the call.
        let file = try unsafe Descriptor.opened(ck_open_for_reading(AT_FDCWD, path), by: "open", on: path)
        guard try file.status().kind == .regular else {
            throw Failure("open", code: EINVAL, on: "\(path) (not a regular file)")
        }
        descriptor = file
    }

    package mutating func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
        let count = try descriptor.read(into: &buffer, at: position)
        position += count
        return count
    }

    /// The first bytes, whatever was read.
    package borrowing func start(_ count: Int) throws(Failure) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let count = try descriptor.read(into: &bytes, at: 0)
        return Array(bytes[..<count])
    }

    /// The file itself, at its offset 0.
    package consuming func intoDescriptor() -> Descriptor { descriptor }
}

/// Reads a line at a time.
package struct LineReader<Source: ByteSource & ~Copyable>: ~Copyable {
    /// A line that was read.
    package enum Line: Equatable {
        /// Without its line feed.
        case whole([UInt8])
        /// The last one, which no line feed ends.
        case unfinished([UInt8])
        /// More bytes than were permitted; nothing after it can be read.
        case tooLong
    }

    private var source: Source
    private let longest: Int
    private var chunk = [UInt8](repeating: 0, count: 256 * 1024)
    private var rest: ArraySlice<UInt8> = []
    /// How many bytes were read from the source.
    package private(set) var position = 0

    /// - Parameter longest: the longest line, in bytes.
    package init(_ source: consuming Source, longest: Int) {
        self.source = source
        self.longest = longest
    }

    /// The next line; nil at the end.
    /// - Parameter mayGrow: more may come: what no line feed ends yet is kept for the next call.
    package mutating func next(mayGrow: Bool = false) throws(Failure) -> Line? {
        var line: [UInt8] = []
        while true {
            if let feed = rest.firstIndex(of: UInt8(ascii: "\n")) {
                line.append(contentsOf: rest[..<feed])
                rest = rest[(feed + 1)...]
                return line.count > longest ? .tooLong : .whole(line)
            }
            line.append(contentsOf: rest)
            if line.count > longest { return .tooLong }
            // The slice would make a copy of the chunk that is about to be overwritten.
            rest = []
            let count = try source.read(into: &chunk)
            position += count
            if count == 0 {
                if mayGrow {
                    rest = line[...]
                    return nil
                }
                return line.isEmpty ? nil : .unfinished(line)
            }
            rest = chunk[..<count]
        }
    }
}
