// Reading a log from its first file to its last, each record verified as it comes.
//
// Must never hand out a record that does not verify without having said so, nor pass over a line in silence.

internal import Audit
internal import Kernel
internal import FileReading

/// The records of a log, oldest first.
package struct LogReader: ~Copyable {
    /// What was verified so far.
    package private(set) var verifier: Verifier
    /// The first thing that was wrong, where the reader goes on after it; nothing after that is verified.
    package private(set) var fault: Unverified?
    private let goesOn: Bool
    /// The log whose end is waited for.
    private let followed: String?
    private var files: ArraySlice<String>
    private var current: LineReader<LogBytes>?
    private var isOpen = false
    private var identity: FileStatus?
    private var path = ""
    private var line = 0

    /// - Parameters:
    ///   - expected: a chain value that was kept elsewhere, to be found in the log.
    ///   - goesOn: whether to read on after something that is wrong. Else `next` throws it.
    ///   - follows: whether more may come to the last file, which may be rotated away.
    package init(_ files: [String], expecting expected: String? = nil, goesOn: Bool = false, follows: Bool = false) {
        verifier = Verifier(expected: expected)
        self.goesOn = goesOn
        self.files = files[...]
        followed = follows ? files.last : nil
    }

    /// The next record; nil at the end, for now where the log is followed. A line that is none is noted, and
    /// passed over where the reader goes on.
    package mutating func next() throws(Unverified) -> LoggedRecord? {
        while true {
            if isOpen {
                if let record = try nextOfFile() { return record }
                guard let followed, files.isEmpty else {
                    close()
                    continue
                }
                guard isRotated(followed) else { return nil }
                // What came between the last look and the change.
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
            case .tooLong:
                try note(Unverified(kind: .notARecord, description: "\(place): not a record: it is too long"))
                return nil
            }
        }
    }

    private mutating func verified(_ bytes: [UInt8]) throws(Unverified) -> LoggedRecord? {
        if fault == nil {
            // Copied, as the verifier is changed meanwhile.
            let (path, line) = (path, line)
            do throws(Unverified) {
                try verifier.verify(bytes[...], isFirst: line == 1, "\(path):\(line)")
            } catch {
                try note(error)
            }
        }
        if let record = LoggedRecord(bytes) { return record }
        // Whoever can make the chain anew can put anything in it.
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

    /// Whether another file has taken the name of the one that was read to its end, and has a record: then
    /// the writer has left the old one for good.
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
