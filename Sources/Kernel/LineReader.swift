// A text file, line by line, however long the file is.
//
// Must never hold more of it than one line and one chunk.

internal import CKernel
internal import Glibc

/// Reads a regular file from its start, a line at a time.
package struct LineReader: ~Copyable {
    /// A line that was read.
    package enum Line: Equatable {
        /// Without its line feed.
        case whole([UInt8])
        /// The last one, which no line feed ends.
        case unfinished([UInt8])
        /// More bytes than were permitted; nothing after it can be read.
        case tooLong
    }

    private let descriptor: Descriptor
    private let longest: Int
    private var position = 0
    private var chunk = [UInt8](repeating: 0, count: 256 * 1024)
    private var rest: ArraySlice<UInt8> = []

    /// - Parameter longest: the longest line, in bytes.
    package init(_ path: String, longest: Int) throws(Failure) {
        // Safety: a Swift string is passed as a NUL-terminated C string for the length of the call.
        let file = try unsafe Descriptor.opened(ck_open_for_reading(AT_FDCWD, path), by: "open", on: path)
        guard try file.status().kind == .regular else {
            throw Failure("open", code: EINVAL, on: "\(path), not a regular file,")
        }
        descriptor = file
        self.longest = longest
    }

    /// The next line; nil at the end of the file.
    package mutating func next() throws(Failure) -> Line? {
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
            let count = try descriptor.read(into: &chunk, at: position)
            if count == 0 { return line.isEmpty ? nil : .unfinished(line) }
            position += count
            rest = chunk[..<count]
        }
    }
}
