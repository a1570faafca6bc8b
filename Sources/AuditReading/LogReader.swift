// Reads a log from its first file to its last, and verifies each record on the way.
//
// Must never return a record that does not verify without reporting it. Must never skip a line without reporting it.

internal import Audit
internal import Kernel
internal import FileReading

/// The records of a log, oldest first.
package struct LogReader: ~Copyable {
    /// The state of the verification so far.
    package private(set) var verifier: Verifier
    /// The first error, if the reader goes on after errors. Nothing after it is verified.
    package private(set) var fault: Unverified?
    private let goesOn: Bool
    /// The path of the log that is being followed, or nil.
    private let followed: String?
    private var files: ArraySlice<String>
    private var current: LineReader<LogBytes>?
    private var isOpen = false
    private var identity: FileStatus?
    private var path = ""
    private var line = 0

    /// - Parameters:
    ///   - expected: a chain value that was kept elsewhere and must be found in the log.
    ///   - goesOn: true to continue after an error. Otherwise `next` throws it.
    ///   - follows: true if records may still be added to the last file, and it may be rotated away.
    package init(_ files: [String], expecting expected: String? = nil, goesOn: Bool = false, follows: Bool = false) {
        verifier = Verifier(expected: expected)
        self.goesOn = goesOn
        self.files = files[...]
        followed = follows ? files.last : nil
    }

    /// Returns the next record, or nil at the end. If the log is followed, more may come later. A line that is no
    /// record is an error; it is skipped if the reader goes on.
    package mutating func next() throws(Unverified) -> LoggedRecord? {
        while true {
            if isOpen {
                if let record = try nextOfFile() { return record }
                guard let followed, files.isEmpty else {
                    close()
                    continue
                }
                guard isRotated(followed) else { return nil }
                // Records may have come between the last read and the rotation.
                if let record = try nextOfFile() { return record }
                guard try turn(to: followed) else { return nil }
            }
            guard let path = files.popFirst() else { return nil }
            try open(path)
        }
    }

    private mutating func open(_ path: String) throws(Unverified) {
        (self.path, line) = (path, 0)
        do throws(Failure) {
            let bytes = try LogBytes.opened(path)
            identity = bytes.identity
            current = LineReader(bytes, longest: Record.longest)
            isOpen = true
        } catch { try note(Unverified(kind: .unreadable, description: error.description)) }
    }

    private mutating func close() {
        current = nil
        isOpen = false
    }

    private mutating func nextOfFile() throws(Unverified) -> LoggedRecord? {
        let isLast = followed != nil && files.isEmpty
        while true {
            let next: LineReader<LogBytes>.Line?
            do throws(Failure) { next = try current?.next(mayGrow: isLast) } catch {
                try note(Unverified(kind: .unreadable, description: error.description))
                return nil
            }
            guard let next else { return nil }
            line += 1
            switch next {
            case .whole(let bytes): if let record = try verified(bytes) { return record }
            case .unfinished:
                try note(Unverified(kind: .cut, description: "\(place): the last line is cut off at its end"))
                return nil
            case .tooLong(let hasZeros):
                try note(
                    hasZeros
                        ? Unverified(zerosAt: place)
                        : Unverified(kind: .notARecord, description: "\(place): not a record: it is too long"))
                return nil
            }
        }
    }

    private mutating func verified(_ bytes: [UInt8]) throws(Unverified) -> LoggedRecord? {
        if fault == nil {
            // They are copied because the verifier changes during the call.
            let (path, line) = (path, line)
            do throws(Unverified) {
                try verifier.verify(bytes[...], isFirst: line == 1, "\(path):\(line)")
            } catch {
                try note(error)
            }
        }
        if let record = LoggedRecord(bytes) { return record }
        // Anybody who can recompute the chain can put any line into it, so the form is checked as well.
        try note(
            Unverified(
                kind: .notARecord, description: "\(place): not a record: it is not written as the broker writes one"))
        return nil
    }

    private var place: String { "\(path):\(line)" }

    private mutating func note(_ fault: Unverified) throws(Unverified) {
        if !goesOn { throw fault }
        if self.fault == nil { self.fault = fault }
    }

    // MARK: Following

    /// Whether another file has taken the name of the file that was read to its end, and has a record. Then the writer
    /// does not write to the old file any more.
    private func isRotated(_ path: String) -> Bool {
        guard let now = (try? statusFollowing(path)) ?? nil, now.size > 0, let identity else { return false }
        return now.device != identity.device || now.inode != identity.inode
    }

    /// Whether the file that is followed has become shorter than what was read of it. What is written to it from now on
    /// would stand before the place where the reader is.
    package borrowing func followedFileShrank() -> Bool {
        guard isOpen, files.isEmpty, let followed, let identity else { return false }
        guard let now = (try? statusFollowing(followed)) ?? nil else { return false }
        guard now.device == identity.device, now.inode == identity.inode else { return false }
        switch current {
        case .some(let reader): return now.size < reader.position
        case .none: return false
        }
    }

    /// Goes on with the files that came after the last record. More than one rotation may have gone by.
    private mutating func turn(to path: String) throws(Unverified) -> Bool {
        let last = verifier.lastNumber
        do throws(Failure) {
            let later = try LogFiles(of: path).files.filter { $0.first > last }
            guard !later.isEmpty else { return false }
            files = later.map(\.path)[...]
            close()
            return true
        } catch {
            try note(Unverified(kind: .unreadable, description: error.description))
            return false
        }
    }
}
