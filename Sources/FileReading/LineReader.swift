// Reads a text of any length line by line.
//
// Must never hold more of it than one line and one chunk.

internal import Glibc
package import Kernel

/// A source of bytes that is read once from start to end.
package protocol ByteSource: ~Copyable {
    /// Reads the next bytes into the start of the buffer. Returns how many, and 0 at the end.
    mutating func read(into buffer: inout [UInt8]) throws(Failure) -> Int
}

/// The bytes of a regular file. It may grow while it is read.
package struct FileBytes: ~Copyable, ByteSource {
    package let descriptor: Descriptor
    private var position = 0

    package init(_ path: String) throws(Failure) {
        let file = try Descriptor.forReading(path)
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

    /// Returns the first bytes of the file, without changing where reading continues.
    package borrowing func start(_ count: Int) throws(Failure) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let count = try descriptor.read(into: &bytes, at: 0)
        return Array(bytes[..<count])
    }

    /// Returns the file itself, with its offset still at 0.
    package consuming func intoDescriptor() -> Descriptor { descriptor }
}

/// Reads one line at a time.
package struct LineReader<Source: ByteSource & ~Copyable>: ~Copyable {
    /// A line, or why there is none.
    package enum Line: Equatable {
        /// A line, without its line feed.
        case whole([UInt8])
        /// The last line, if it has no line feed.
        case unfinished([UInt8])
        /// The line is longer than permitted. Nothing after it can be read.
        case tooLong(hasZeros: Bool)
    }

    private var source: Source
    private let longest: Int
    private var chunk = [UInt8](repeating: 0, count: 256 * 1024)
    private var rest: ArraySlice<UInt8> = []
    /// How many bytes were read from the source.
    package private(set) var position = 0

    /// Whether the bytes that were read and not returned yet begin a line.
    package var isWithinLine: Bool { !rest.isEmpty }

    /// - Parameter longest: the longest line, in bytes.
    package init(_ source: consuming Source, longest: Int) {
        self.source = source
        self.longest = longest
    }

    /// Returns the next line, or nil at the end.
    /// - Parameter mayGrow: true if more may be added to the file. A line without a line feed is then kept for the next
    ///   call.
    package mutating func next(mayGrow: Bool = false) throws(Failure) -> Line? {
        var line: [UInt8] = []
        while true {
            if let feed = rest.firstIndex(of: UInt8(ascii: "\n")) {
                line.append(contentsOf: rest[..<feed])
                rest = rest[(feed + 1)...]
                return line.count > longest ? .tooLong(hasZeros: line.contains(0)) : .whole(line)
            }
            line.append(contentsOf: rest)
            if line.count > longest { return .tooLong(hasZeros: line.contains(0)) }
            // Otherwise the slice would force a copy of the chunk, which is about to be overwritten.
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
