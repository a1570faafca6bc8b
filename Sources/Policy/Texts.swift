// The text of a policy, and the parts of it that its tables point to.
//
// The files are kept once, as they were read. Names and paths are places in them, so that a policy with hundreds of
// thousands of lines is a few blocks of memory: quick to make and quick to free. Must never copy a word to keep it.

internal import Wire

/// A word in the text of a policy: where it begins and how long it is, in bytes.
struct Part: Sendable {
    let start: UInt32
    let count: UInt16

    /// A place that nothing is at.
    static let none = Part(start: 0, count: 0)

    private init(start: UInt32, count: UInt16) { (self.start, self.count) = (start, count) }

    /// A word of a line that is short enough to be read. The files together have at most `Limits.policyBytes`.
    init(_ word: Word) {
        self.init(start: UInt32(word.bytes.startIndex), count: UInt16(word.bytes.count))
    }

    var isNone: Bool { count == 0 }
}

/// The files of a policy, one after the other.
struct Texts: Sendable {
    private(set) var files: [String] = []
    private(set) var bytes: [UInt8] = []
    /// Where each file begins.
    private var starts: [Int] = []

    /// Adds files, and returns where the bytes of each are. The bytes of a single file are shared and not copied. Of many
    /// files, each is given up when it is copied, so that a long policy is not in memory twice.
    mutating func append(_ texts: consuming [PolicyText]) -> [Range<Int>] {
        let isShared = bytes.isEmpty && texts.count == 1
        if !isShared { bytes.reserveCapacity(bytes.count + texts.reduce(0) { $0 + $1.bytes.count }) }
        var places: [Range<Int>] = []
        for index in texts.indices {
            let text = texts[index]
            texts[index] = PolicyText(file: "", bytes: [])
            files.append(text.file)
            starts.append(bytes.count)
            if isShared { bytes = text.bytes } else { bytes += text.bytes }
            places.append(bytes.count - text.bytes.count..<bytes.count)
        }
        return places
    }

    subscript(part: Part) -> ArraySlice<UInt8> { bytes[Int(part.start)..<Int(part.start) + Int(part.count)] }

    func string(_ part: Part) -> String { String(decoding: self[part], as: UTF8.self) }

    /// The number of the file that a word is in.
    func file(of part: Part) -> Int {
        // A file that comes before the next one may be empty, and begins at the same place.
        var (low, high) = (0, starts.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if starts[middle] <= Int(part.start) { low = middle } else { high = middle }
        }
        return low
    }

    /// The line that a word is in, without its end.
    func line(around part: Part) -> ArraySlice<UInt8> {
        let file = file(of: part)
        let end = file + 1 < starts.count ? starts[file + 1] : bytes.count
        let newline = UInt8(ascii: "\n")
        var start = Int(part.start)
        while start > starts[file], bytes[start - 1] != newline { start -= 1 }
        let stop = bytes[Int(part.start)..<end].firstIndex(of: newline) ?? end
        return bytes[start..<stop]
    }

    func location(of part: Part, line: UInt32) -> Location {
        Location(file: files[file(of: part)], line: Int(line))
    }
}
