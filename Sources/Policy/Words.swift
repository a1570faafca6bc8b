// Splits a line of a policy into words.
//
// Must never change, join or drop a byte of a word.

/// A word and its place in the line.
package struct Word {
    package let bytes: ArraySlice<UInt8>
    /// In bytes, counted from 1.
    package let column: Int

    package var text: String { String(decoding: bytes, as: UTF8.self) }

    package func says(_ keyword: String) -> Bool { bytes.elementsEqual(keyword.utf8) }

    /// Whether it is an identity of the form `unit:NAME`.
    package var namesUnit: Bool { bytes.starts(with: Identity.unitPrefix.utf8) }

    /// The word without its first bytes.
    package func dropping(_ count: Int) -> Word { Word(bytes: bytes.dropFirst(count), column: column + count) }

    /// The word without its first byte if that is `byte`, or else nil.
    func dropping(_ byte: UInt8) -> Word? {
        bytes.first == byte ? Word(bytes: bytes.dropFirst(), column: column + 1) : nil
    }
}

/// The words of a line, separated by spaces and tabs. A comment is left out.
package func words(of line: ArraySlice<UInt8>) -> [Word] {
    var words: [Word] = []
    // Most lines have no more than this, and a policy can have hundreds of thousands of them.
    words.reserveCapacity(6)
    let bytes = line.span
    var start: Int?
    func end(at index: Int) {
        guard let first = start else { return }
        words.append(Word(bytes: line.dropFirst(first).prefix(index - first), column: first + 1))
        start = nil
    }
    for index in bytes.indices {
        switch bytes[index] {
        case UInt8(ascii: "#"):
            end(at: index)
            return words
        case space, tab: end(at: index)
        default: if start == nil { start = index }
        }
    }
    end(at: bytes.count)
    return words
}

/// The first byte of a line that a policy must not contain, with a message about it. Nil if there is none.
package func badByte(in line: ArraySlice<UInt8>) -> (column: Int, message: String)? {
    guard let index = line.firstIndex(where: { !isPrintable($0) && $0 != tab }) else { return nil }
    let message =
        switch line[index] {
        case 0: "a NUL byte; a policy is plain ASCII text"
        case 0x0D: "a carriage return; save the file with Unix line ends"
        case 0x80...: "a byte that is not ASCII; a policy is plain ASCII text, in comments too"
        default: "a control character; a policy is plain ASCII text"
        }
    return (index - line.startIndex + 1, message)
}

/// The entry of `known` that is most similar to `text` and close enough to be a typing error, or else nil.
package func closest(to text: String, among known: [String]) -> String? {
    known.map { ($0, distance(Array(text.utf8), Array($0.utf8))) }
        .filter { $0.1 <= 2 && $0.1 < $0.0.utf8.count }.min { $0.1 < $1.1 }?.0
}

/// How many bytes must be inserted, deleted or replaced to turn one into the other (Levenshtein distance).
private func distance(_ from: [UInt8], _ to: [UInt8]) -> Int {
    var row = Array(0...to.count)
    for (i, left) in from.prefix(32).enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, right) in to.enumerated() {
            let changed = diagonal + (left == right ? 0 : 1)
            diagonal = row[j + 1]
            row[j + 1] = min(changed, row[j] + 1, row[j + 1] + 1)
        }
    }
    return row[to.count]
}
