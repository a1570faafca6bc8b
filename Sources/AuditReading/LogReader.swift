// Reads a log from its first file to its last, and verifies each record on the way.
//
// Must never return a record that does not verify without reporting it. Must never skip a line without reporting it.

internal import Audit
internal import Kernel
internal import FileReading
internal import Wire

/// The records of a log, oldest first.
package struct LogReader: ~Copyable {
    /// The state of the verification so far.
    package private(set) var verifier: Verifier
    /// The first error, if the reader goes on after errors. Nothing after it is verified.
    package private(set) var fault: Unverified?
    /// Whether there are files of the log that cannot be read here.
    package var isPartial: Bool { !found.unreadable.isEmpty }
    /// How many files were read, or are being read.
    package private(set) var filesRead = 0
    private let goesOn: Bool
    /// The path of the log that is being followed, or nil.
    private let followed: String?
    /// The files that were found, and those of them that are not read yet.
    private var found: LogFiles, files: ArraySlice<LogFiles.File>
    /// How often the files were listed anew since the last one was opened.
    private var listings = 0
    private var current: LineReader<LogBytes>?
    private var isOpen = false
    /// Whether the file has ended. False if it could not be read to its end.
    private var isAtEnd = false
    /// The file that is being read. Nil if it is compressed: nobody writes to such a file.
    private var identity: FileIdentity?
    private var path = ""
    private var line = 0
    /// The largest number of a record that was verified, or that was the first of its file.
    private var reached: UInt64 = 0
    private let pause: (Duration) -> Void

    /// - Parameters:
    ///   - log: the files. They may be rotated while they are read, and the last one may be written.
    ///   - expected: a chain value that was kept elsewhere and must be found in the log.
    ///   - goesOn: true to continue after an error. Otherwise `next` throws it.
    ///   - follows: true if records may still be added to the last file, and it may be rotated away.
    ///   - pause: waits for so long, while somebody else writes or rotates the log.
    package init(
        _ log: LogFiles, expecting expected: String? = nil, goesOn: Bool = false, follows: Bool = false,
        pausing pause: @escaping (Duration) -> Void = Self.wait
    ) {
        verifier = Verifier(expected: expected)
        self.goesOn = goesOn
        self.pause = pause
        found = log
        files = log.files[...]
        followed = follows ? log.files.last?.path : nil
    }

    /// The same, for files that nobody writes or rotates, unless they are followed.
    package init(_ paths: [String], expecting expected: String? = nil, goesOn: Bool = false, follows: Bool = false) {
        self.init(LogFiles(unseen: paths), expecting: expected, goesOn: goesOn, follows: follows) { _ in }
    }

    package static func wait(_ time: Duration) {
        // Without the pause there is less patience, and nothing else.
        _ = try? Kernel.pause(until: Instant.now.after(time))
    }

    /// Returns the next record, or nil at the end. If the log is followed, more may come later. A line that is no
    /// record is an error; it is skipped if the reader goes on.
    package mutating func next() throws(Unverified) -> LoggedRecord? {
        while true {
            if isOpen {
                if let record = try nextOfFile() { return record }
                guard let followed, files.isEmpty else {
                    let isNewest = logIsEmpty()
                    // Records may have come between the last read and this look.
                    if isAtEnd, let record = try nextOfFile() { return record }
                    if isNewest, isAtEnd {
                        guard followed == nil else { return nil }
                        // What comes into the log from now on is later than what was asked for.
                        (files, filesRead) = ([], filesRead + 1)
                    }
                    close()
                    continue
                }
                guard isRotated(followed) else { return nil }
                // Records may have come between the last read and the rotation.
                if let record = try nextOfFile() { return record }
                guard try turn(to: followed) else { return nil }
            }
            guard let file = files.popFirst() else { return nil }
            try open(file)
        }
    }

    private mutating func open(_ file: LogFiles.File) throws(Unverified) {
        (path, line) = (file.path, 0)
        do throws(Failure) {
            let bytes: LogBytes
            do throws(Failure) { bytes = try LogBytes.opened(path) } catch {
                if error.code == Failure.notFound, try listAgain() { return }
                throw error
            }
            if let known = file.identity, known != bytes.status.identity, try listAgain() { return }
            identity = bytes.isCompressed ? nil : bytes.status.identity
            current = LineReader(bytes, longest: Record.longest)
            isOpen = true
            filesRead += 1
            listings = 0
        } catch { try note(Unverified(kind: .unreadable, description: error.description)) }
    }

    /// Lists the files anew, because another file has the name of the next one, and goes on with those that were not read
    /// yet. Returns false if there is no way to list them, or if it was done too often.
    private mutating func listAgain() throws(Failure) -> Bool {
        guard listings < Limits.readersLooks else { return false }
        if listings > 0 { pause(Limits.readersPause) }
        guard let log = try found.again() else { return false }
        listings += 1
        goOn(in: log)
        return true
    }

    private mutating func goOn(in log: LogFiles) {
        let last = max(reached, verifier.lastNumber)
        found = log
        files = filesRead == 0 ? log.files[...] : log.files.filter { $0.first > last }[...]
    }

    /// Whether the log itself is the next file, and has no record. Then the one before it may still be written.
    private func logIsEmpty() -> Bool {
        guard identity != nil, files.count == 1, let log = files.first, log.first == .max else { return false }
        guard let now = (try? statusFollowing(log.path)) ?? nil else { return false }
        return now.size == 0 && now.identity == log.identity
    }

    private mutating func close() {
        current = nil
        isOpen = false
    }

    private mutating func nextOfFile() throws(Unverified) -> LoggedRecord? {
        let isLast = followed != nil && files.isEmpty
        isAtEnd = false
        while true {
            let next: LineReader<LogBytes>.Line?
            do throws(Failure) { next = try nextLine(isFollowed: isLast) } catch {
                try note(Unverified(kind: .unreadable, description: error.description))
                return nil
            }
            guard let next else {
                isAtEnd = true
                return nil
            }
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

    /// A line without its end may be a record that is being written at this moment: it is read again, a few times.
    private mutating func nextLine(isFollowed: Bool) throws(Failure) -> LineReader<LogBytes>.Line? {
        guard identity != nil else { return try current?.next() }
        for attempt in 0... {
            if let next = try current?.next(mayGrow: true) { return next }
            if isFollowed || current?.isWithinLine != true { return nil }
            if attempt == Limits.readersLooks { break }
            pause(Limits.readersPause)
        }
        return try current?.next()
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
        if let record = LoggedRecord(bytes) {
            if line == 1, let number = record.number(.seq) { reached = max(reached, number) }
            return record
        }
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
        return now.identity != identity
    }

    /// Whether the file that is followed has become shorter than what was read of it. What is written to it from now on
    /// would stand before the place where the reader is.
    package borrowing func followedFileShrank() -> Bool {
        guard isOpen, files.isEmpty, let followed, let identity else { return false }
        guard let now = (try? statusFollowing(followed)) ?? nil else { return false }
        guard now.identity == identity else { return false }
        switch current {
        case .some(let reader): return now.size < reader.position
        case .none: return false
        }
    }

    /// Goes on with the files that came after the last record. More than one rotation may have gone by.
    private mutating func turn(to path: String) throws(Unverified) -> Bool {
        do throws(Failure) {
            goOn(in: try LogFiles(of: path))
            guard !files.isEmpty else { return false }
            close()
            return true
        } catch {
            try note(Unverified(kind: .unreadable, description: error.description))
            return false
        }
    }
}
