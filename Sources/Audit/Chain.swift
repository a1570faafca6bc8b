// The chain: each record carries a hash over the one before it and itself, so that a record can be
// changed, dropped or put in only by rewriting all that follow.
//
// keybroker-audit(5) describes it exactly enough to be verified by a program that never saw this one.

internal import Kernel
internal import Digest
internal import Wire

/// The hash that a record ends with: 64 lower-case hexadecimal digits, as ASCII.
package struct Link: Equatable, Sendable {
    package let digits: [UInt8]

    /// Before the first record: 64 zeros.
    package static let beginning = Link(digits: [UInt8](repeating: UInt8(ascii: "0"), count: SHA256.hexLength))

    /// The link of a record: SHA-256 of the link before it, as ASCII, and of the record's bytes up to,
    /// but not including, `,"chain":`.
    package func next(over record: ArraySlice<UInt8>) -> Link {
        var hash = SHA256()
        hash.update(digits)
        hash.update(record)
        return Link(digits: hash.finish())
    }

    /// A record's whole line.
    func closing(_ record: [UInt8]) -> [UInt8] { record + Self.opening + digits + Self.closing }

    private static let opening = Array(#","chain":""#.utf8)
    private static let closing = Array("\"}\n".utf8)
    private static let beforePrevious = Array(#","previous":""#.utf8)
    private static let firstField = Array(#"{"seq":"#.utf8)

    /// No log comes to a larger number. What claims one is no record, so that whoever reads or continues a log
    /// can count on from any number that is taken, without an end of the numbers.
    package static let largestNumber = UInt64(Int64.max)

    /// A line of a log taken apart: nil where it has not the form of a record.
    package struct Taken {
        package let number: UInt64
        package let link: Link
        /// What the link is over.
        package let record: ArraySlice<UInt8>
        /// The link that the file before this one ended with.
        package let previous: Link?
    }

    /// `line` is without its line feed.
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
        // `previous` is the last field where there is one, and no text can hold a quote that is not escaped.
        let end = record.suffix(beforePrevious.count + SHA256.hexLength + 1)
        let previous =
            end.starts(with: beforePrevious) && end.last == UInt8(ascii: "\"")
            ? Link(end.dropFirst(beforePrevious.count).dropLast()) : nil
        return Taken(number: number, link: link, record: record, previous: previous)
    }

    private init(digits: [UInt8]) { self.digits = digits }

    private init?(_ digits: ArraySlice<UInt8>) {
        guard digits.count == SHA256.hexLength, digits.allSatisfy(\.isLowerHexDigit) else { return nil }
        self.digits = Array(digits)
    }
}
