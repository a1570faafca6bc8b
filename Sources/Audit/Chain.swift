// The hash chain of the audit log. Each record contains a hash of the record before it and of itself. So nobody can
// change, remove or insert a record without rewriting all that follow.
//
// Must never differ from keybroker-audit(5), which describes the chain exactly: other programs verify it from that page
// alone.

internal import Kernel
internal import Digest
internal import Wire

/// The hash at the end of a record: 64 lower-case hexadecimal digits in ASCII.
package struct Link: Equatable, Sendable {
    private let text: InlineArray<64, UInt8>

    package var digits: [UInt8] { text.indices.map { text[$0] } }

    /// The link before the first record: 64 zeros.
    package static let beginning = Link(text: InlineArray(repeating: UInt8(ascii: "0")))

    package static func == (left: Link, right: Link) -> Bool {
        left.text.indices.allSatisfy { left.text[$0] == right.text[$0] }
    }

    /// The link of a record: the SHA-256 of the link before it in ASCII, followed by the record's bytes before
    /// `,"chain":`.
    package func next(over record: ArraySlice<UInt8>) -> Link { next(over: record.span) }

    func next(over record: Span<UInt8>) -> Link {
        var hash = SHA256()
        hash.update(text.span)
        hash.update(record)
        return Link(text: hash.finishInPlace())
    }

    /// Appends what ends the line of a record: its link and the line feed.
    func close(_ record: inout [UInt8]) {
        record.append(contentsOf: Self.opening)
        record.append(addingCapacity: text.count) { digits in
            for index in text.indices { digits.append(text[index]) }
        }
        record.append(contentsOf: Self.closing)
    }

    /// The whole line of a record, with its link and its line feed.
    package func closing(_ record: [UInt8]) -> [UInt8] {
        var line = record
        close(&line)
        return line
    }

    private static let opening = Array(#","chain":""#.utf8)
    private static let closing = Array("\"}\n".utf8)
    private static let beforePrevious = Array(#","previous":""#.utf8)
    private static let firstField = Array(#"{"seq":"#.utf8)

    /// The largest record number. No log ever reaches it. A line with a larger number is not a record. So adding to any
    /// accepted number cannot overflow.
    package static let largestNumber = UInt64(Int64.max)

    /// The parts of a line of a log.
    package struct Taken {
        package let number: UInt64
        package let link: Link
        /// The bytes that the link is computed over.
        package let record: ArraySlice<UInt8>
        /// The last link of the file before this one, if the record is the first of its file.
        package let previous: Link?
    }

    /// The parts of a line, which is given without its line feed. Nil if it does not have the form of a record.
    package static func taken(from line: ArraySlice<UInt8>) -> Taken? {
        let tailLength = opening.count + SHA256.hexLength + 2
        guard line.count > tailLength + firstField.count, line.starts(with: firstField) else { return nil }
        let record = line.dropLast(tailLength)
        let tail = line.suffix(tailLength)
        guard tail.starts(with: opening), tail.suffix(2).elementsEqual("\"}".utf8),
            let link = Link(tail.dropFirst(opening.count).dropLast(2))
        else { return nil }
        let rest = record.dropFirst(firstField.count)
        let digits = rest.prefix(while: \.isDigit)
        let after = rest.dropFirst(digits.count).first
        guard let number = UInt64(String(decoding: digits, as: UTF8.self)), (1...largestNumber).contains(number),
            digits.first != UInt8(ascii: "0"), after == nil || after == UInt8(ascii: ",")
        else { return nil }
        // If there is a `previous`, it is the last field. Texts escape their quotes, so they cannot imitate it.
        let end = record.suffix(beforePrevious.count + SHA256.hexLength + 1)
        let previous =
            end.starts(with: beforePrevious) && end.last == UInt8(ascii: "\"")
            ? Link(end.dropFirst(beforePrevious.count).dropLast()) : nil
        return Taken(number: number, link: link, record: record, previous: previous)
    }

    private init(text: InlineArray<64, UInt8>) { self.text = text }

    private init?(_ digits: ArraySlice<UInt8>) {
        guard digits.count == SHA256.hexLength, digits.allSatisfy(\.isLowerHexDigit) else { return nil }
        text = InlineArray { digits[digits.startIndex + $0] }
    }
}
