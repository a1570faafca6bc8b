// Verifies a log: each record against its chain value, its number and the record before it, over any number of files.
//
// Must never skip a record without checking it. Must never go on after the first error.

internal import Audit

/// A log that was changed, or that cannot be read.
package struct Unverified: Error, Equatable, CustomStringConvertible {
    package enum Kind: Equatable, Sendable {
        case unreadable, notARecord, changed, missing, inserted, cut, headUnknown
    }
    package let kind: Kind
    /// The place and the error, as a sentence.
    package let description: String
}

extension Unverified {
    /// No record has a byte 0. A file system shows zeros where data had not reached the disk.
    init(zerosAt place: String) {
        self.init(
            kind: .cut,
            description:
                "\(place): zeros in place of records, as a power cut leaves them: what was written there is lost")
    }
}

/// Verifies the records of a log, oldest first.
package struct Verifier {
    /// How many records were verified.
    package private(set) var records = 0
    package private(set) var firstNumber: UInt64?
    package private(set) var lastNumber: UInt64 = 0
    private var link = Link.beginning
    /// True if the first record continues a record that is in none of the given files.
    package private(set) var beginsAfterAnother = false
    private let expected: [UInt8]?
    private var expectedAt: UInt64?

    /// - Parameter expected: a chain value that was kept elsewhere and must be found in the log.
    package init(expected: String? = nil) { self.expected = expected.map { Array($0.utf8) } }

    /// The chain value of the last record. This is the value to keep elsewhere.
    package var head: String { String(decoding: link.digits, as: UTF8.self) }

    /// Call this after the last file. Returns how many records came after the expected chain value, or nil if none is
    /// expected. Throws if the value was not found.
    package func recordsSinceExpected() throws(Unverified) -> UInt64? {
        guard let expected else { return nil }
        guard let expectedAt else {
            let head = String(decoding: expected.prefix(64), as: UTF8.self)
            throw Unverified(
                kind: .headUnknown,
                description:
                    "the head \(head) is in no record: the log was cut at its end, rewritten, or is another one")
        }
        return lastNumber - expectedAt
    }

    /// Verifies the next record, given as its line without the line feed. `isFirst` is true for the first record of a
    /// file.
    mutating func verify(
        _ bytes: ArraySlice<UInt8>, isFirst: Bool, _ place: @autoclosure () -> String
    ) throws(Unverified) {
        guard let record = Link.taken(from: bytes) else {
            if bytes.contains(0) { throw Unverified(zerosAt: place()) }
            throw Unverified(
                kind: .notARecord,
                description:
                    "\(place()): not a record of this log, or one whose number is not from 1 to \(Link.largestNumber)")
        }
        let number = record.number
        if records == 0 {
            // The given files may begin in the middle of a log. What came before them is then only reported.
            beginsAfterAnother = record.previous != nil && number > 1
            link = record.previous ?? .beginning
            lastNumber = beginsAfterAnother ? number - 1 : 0
            // The chain covers the value of the record before, so it may be in a file that was rotated away since.
            if beginsAfterAnother, let expected, link.digits == expected { expectedAt = lastNumber }
            guard beginsAfterAnother || link == .beginning else {
                throw Unverified(
                    kind: .inserted,
                    description: "\(place()): record 1 names a record before it: it was put in")
            }
            firstNumber = number
        } else if isFirst, number <= lastNumber {
            throw Unverified(
                kind: .inserted,
                description:
                    "\(place()): begins with record \(number), but record \(lastNumber) was read before it: one of "
                    + "the files is a copy, or was put in; move it away from the log")
        } else if isFirst, let previous = record.previous, previous != link {
            throw Unverified(
                kind: .missing,
                description: "\(place()): does not go on where the file before it ended: a file is missing")
        }
        // Neither sum overflows, because no accepted number is larger than `Link.largestNumber`.
        if number > lastNumber + 1 {
            let gap =
                number == lastNumber + 2
                ? "record \(lastNumber + 1) is" : "records \(lastNumber + 1) to \(number - 1) are"
            throw Unverified(kind: .missing, description: "\(place()): \(gap) missing before record \(number)")
        }
        if number <= lastNumber {
            throw Unverified(
                kind: .inserted,
                description: "\(place()): record \(number) stands behind record \(lastNumber): it was put in")
        }
        guard link.next(over: record.record) == record.link else {
            if bytes.contains(0) { throw Unverified(zerosAt: place()) }
            throw Unverified(
                kind: .changed,
                description:
                    "\(place()): record \(number) was changed, or the one before it was: the chain does not match")
        }
        link = record.link
        lastNumber = number
        records += 1
        if let expected, link.digits == expected { expectedAt = number }
    }
}
