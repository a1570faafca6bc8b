// Finds the files of a log: the one that is being written, and those that rotation left, compressed or not.
//
// A rotation may happen at any moment. Must never leave a file out without saying so: a missing file looks like missing
// records. Must never take a file for two, because a compressor is writing the second one.

internal import Audit
internal import Gzip
package import Kernel
internal import FileReading
internal import Wire

/// The files of one log, oldest first.
package struct LogFiles {
    /// A file as it was found.
    package struct File {
        package let path: String
        /// The number of its first record. 0 if its beginning is damaged. The largest number for the log itself, which is
        /// the last one and may be empty.
        let first: UInt64
        /// Nil if it is not known which file has the name.
        let identity: FileIdentity?
    }

    private enum Origin { case beside(String), named([String]), unknown }

    package private(set) var files: [File] = []
    /// Files with a compression that this program cannot read.
    package private(set) var unreadable: [String] = []
    private let origin: Origin

    /// Finds the log at `path`, and the files beside it whose names begin with its name, as rotation leaves them
    /// (`audit.jsonl.1`, `audit.jsonl-20261123.gz`).
    package init(of path: String) throws(Failure) {
        let absolute = try absolutePath(path)
        origin = .beside(absolute)
        var seen = try Self.look(beside: absolute)
        for _ in 0..<Limits.readersLooks {
            try list(seen, absolute)
            // A file that was renamed meanwhile may have been missed, or found twice.
            let now = try Self.look(beside: absolute)
            if now.elementsEqual(seen, by: ==) { return }
            seen = now
        }
    }

    /// Takes files that somebody named, and puts the oldest first, because a shell's `audit.jsonl*` gives the newest
    /// first.
    package init(named paths: [String]) throws(Failure) {
        origin = .named(paths)
        // A name comes before the same name with an ending.
        for path in paths.sorted() {
            try add(path) { (reader) throws(Failure) in
                // An empty file can be left out.
                guard let line = try reader.next() else { return nil }
                // A file that is no log goes to the front, where verification finds it.
                guard case .whole(let bytes) = line, let record = Link.taken(from: bytes[...]) else { return 0 }
                return record.number
            }
        }
        files.sort { $0.first < $1.first }
        // If there is no record yet, one may come.
        if files.isEmpty, let path = paths.sorted().first, let status = try statusFollowing(path) {
            files = [File(path: path, first: .max, identity: status.identity)]
        }
    }

    /// Files that are read in this order, whatever they are.
    init(unseen paths: [String]) {
        origin = .unknown
        files = paths.map { File(path: $0, first: 0, identity: nil) }
    }

    package var paths: [String] { files.map(\.path) }

    /// Finds the files anew. Nil if it is not known how.
    func again() throws(Failure) -> LogFiles? {
        switch origin {
        case .beside(let path): try LogFiles(of: path)
        case .named(let paths): try LogFiles(named: paths)
        case .unknown: nil
        }
    }

    // MARK: The files beside a log

    private typealias Seen = (path: String, identity: FileIdentity)

    /// The log and the files that may belong to it, with the shorter of two names that begin in the same way first.
    private static func look(beside log: String) throws(Failure) -> [Seen] {
        guard let name = log.split(separator: "/").last else {
            throw Failure("open", code: Failure.notFound, on: log)
        }
        let folder = folder(of: log)
        var seen: [Seen] = []
        for entry in try directoryEntries(folder) where entry.hasPrefix(name) {
            let path = "\(folder == "/" ? "" : folder)/\(entry)"
            if let status = try statusFollowing(path), status.kind == .regular { seen.append((path, status.identity)) }
        }
        return seen
    }

    private mutating func list(_ seen: [Seen], _ log: String) throws(Failure) {
        (files, unreadable) = ([], [])
        for candidate in seen where candidate.path != log {
            if [".xz", ".bz2", ".zst"].contains(where: candidate.path.hasSuffix) {
                if original(of: candidate.path) == nil { unreadable.append(candidate.path) }
                continue
            }
            do throws(Failure) { try add(candidate.path, Self.beginning) } catch {
                // It was renamed. The next look finds it.
                if error.code != Failure.notFound { throw error }
            }
        }
        files.sort { $0.first < $1.first }
        files.append(File(path: log, first: .max, identity: seen.first { $0.path == log }?.identity))
    }

    /// The number of the first record of a file. 0 if its beginning is damaged: it must not be skipped, so it goes to the
    /// front, where verification finds it. Nil if it is no log, such as a lock or an editor's copy.
    private static func beginning(of reader: inout LineReader<LogBytes>) throws(Failure) -> UInt64? {
        for number in 0..<8 {
            let line: [UInt8]
            switch try reader.next() {
            // The end of the file's only line may be lost, or just its line feed.
            case .whole(let bytes)?, .unfinished(let bytes)?: line = bytes
            case .tooLong?, nil: return nil
            }
            // If its first lines are damaged, one of the next shows that it is a log.
            if let record = Link.taken(from: line[...]) { return number == 0 ? record.number : 0 }
            // The file begins with a damaged record.
            if line.starts(with: recordBegin) { return 0 }
        }
        return nil
    }

    private static let recordBegin = Array(#"{"seq":"#.utf8)

    // MARK: One file

    /// Adds a file, unless `beginning` says that it is none of the log's. While a file is being compressed there is the
    /// compressed one, too: whole, in part or empty.
    private mutating func add(
        _ path: String, _ beginning: (inout LineReader<LogBytes>) throws(Failure) -> UInt64?
    ) throws(Failure) {
        let original = original(of: path)
        do throws(Failure) {
            let bytes = try LogBytes.opened(path)
            let identity = bytes.status.identity
            var reader = LineReader(bytes, longest: Record.longest)
            guard let first = try beginning(&reader) else { return }
            if let original, [0, original.first].contains(first) { return }
            files.append(File(path: path, first: first, identity: identity))
        } catch { if error.code != Failure.badData || original == nil { throw error } }
    }

    /// The file that the one at `path` is the compressed one of.
    private func original(of path: String) -> File? {
        guard let dot = path.lastIndex(of: "."), [".gz", ".xz", ".bz2", ".zst"].contains(path[dot...]) else {
            return nil
        }
        return files.first { $0.path == path[..<dot] }
    }
}

/// The bytes of one file, decompressed if it is a gzip file.
struct LogBytes: ~Copyable, ByteSource {
    // Exactly one of the two is set.
    private var plain: FileBytes?
    private var gzip: GzipFile?
    let status: FileStatus

    var isCompressed: Bool {
        switch gzip {
        case .some: true
        case .none: false
        }
    }

    static func opened(_ path: String) throws(Failure) -> LogBytes {
        let file = try FileBytes(path)
        let status = try file.descriptor.status()
        if try file.start(2) == [0x1F, 0x8B] {
            return LogBytes(plain: nil, gzip: try GzipFile(file.intoDescriptor(), path: path), status)
        }
        return LogBytes(plain: consume file, gzip: nil, status)
    }

    private init(plain: consuming FileBytes?, gzip: consuming GzipFile?, _ status: FileStatus) {
        self.plain = plain
        self.gzip = gzip
        self.status = status
    }

    mutating func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
        if let count = try plain?.read(into: &buffer) { return count }
        return try gzip?.read(into: &buffer) ?? 0
    }
}
