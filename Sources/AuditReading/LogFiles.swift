// Finds the files of a log: the one that is being written, and those that rotation left, compressed or not.
//
// Must never leave a file out without saying so: a missing file looks like missing records.

internal import Audit
internal import Gzip
package import Kernel
internal import FileReading

/// The files of one log, oldest first.
package struct LogFiles {
    /// The files, each with the number of its first record. The log itself is the last one and may be empty.
    package let files: [(first: UInt64, path: String)]
    /// Files with a compression that this program cannot read.
    package let unreadable: [String]

    /// Finds the log at `path`, and the files beside it whose names begin with its name, as rotation leaves them
    /// (`audit.jsonl.1`, `audit.jsonl-20261123.gz`).
    package init(of path: String) throws(Failure) {
        let absolute = try absolutePath(path)
        guard let name = absolute.split(separator: "/").last else {
            throw Failure("open", code: Failure.notFound, on: path)
        }
        let folder = folder(of: absolute)
        var found: [(first: UInt64, path: String)] = []
        var unreadable: [String] = []
        for entry in try directoryEntries(folder) where entry.hasPrefix(name) && entry != name {
            let candidate = "\(folder == "/" ? "" : folder)/\(entry)"
            if [".xz", ".bz2", ".zst"].contains(where: entry.hasSuffix) {
                unreadable.append(candidate)
                continue
            }
            guard try statusFollowing(candidate)?.kind == .regular else { continue }
            var reader = LineReader(try LogBytes.opened(candidate), longest: Record.longest)
            // A file that is no log is skipped, such as a lock or an editor's copy.
            switch try Self.beginning(of: &reader) {
            case .record(let number): found.append((number, candidate))
            // It must not be skipped, so it goes to the front, where verification finds it.
            case .damaged: found.append((0, candidate))
            case .noLog: continue
            }
        }
        files = found.sorted { $0.first < $1.first } + [(.max, absolute)]
        self.unreadable = unreadable
    }

    private enum Beginning { case record(UInt64), damaged, noLog }

    /// What a file begins with. If its first lines are damaged, one of the next shows that it is a log.
    private static func beginning(of reader: inout LineReader<LogBytes>) throws(Failure) -> Beginning {
        for number in 0..<8 {
            let line: [UInt8]
            switch try reader.next() {
            // The end of the file's only line may be lost, or just its line feed.
            case .whole(let bytes)?, .unfinished(let bytes)?: line = bytes
            case .tooLong?, nil: return .noLog
            }
            if let record = Link.taken(from: line[...]) { return number == 0 ? .record(record.number) : .damaged }
            // The file begins with a damaged record.
            if line.starts(with: recordBegin) { return .damaged }
        }
        return .noLog
    }

    private static let recordBegin = Array(#"{"seq":"#.utf8)

    /// Takes files that somebody named, and puts the oldest first, because a shell's `audit.jsonl*` gives the newest
    /// first.
    package init(named paths: [String]) throws(Failure) {
        var found: [(first: UInt64, path: String)] = []
        for path in paths {
            var reader = LineReader(try LogBytes.opened(path), longest: Record.longest)
            // A file that is no log goes to the front, where verification finds it. An empty file can be left out.
            guard case .some(let line) = try reader.next() else { continue }
            if case .whole(let bytes) = line, let record = Link.taken(from: bytes[...]) {
                found.append((record.number, path))
            } else {
                found.append((0, path))
            }
        }
        files = found.sorted { $0.first < $1.first }
        unreadable = []
    }

    package var paths: [String] { files.map(\.path) }
}

/// The bytes of one file, decompressed if it is a gzip file.
struct LogBytes: ~Copyable, ByteSource {
    // Exactly one of the two is set.
    private var plain: FileBytes?
    private var gzip: GzipFile?
    /// Identifies the file, to notice if another one took its name. Nil for a compressed file.
    let identity: FileStatus?

    static func opened(_ path: String) throws(Failure) -> LogBytes {
        let file = try FileBytes(path)
        if try file.start(2) == [0x1F, 0x8B] {
            return LogBytes(plain: nil, gzip: try GzipFile(file.intoDescriptor(), path: path), identity: nil)
        }
        let identity = try file.descriptor.status()
        return LogBytes(plain: consume file, gzip: nil, identity: identity)
    }

    private init(plain: consuming FileBytes?, gzip: consuming GzipFile?, identity: FileStatus?) {
        self.plain = plain
        self.gzip = gzip
        self.identity = identity
    }

    mutating func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
        if let count = try plain?.read(into: &buffer) { return count }
        return try gzip?.read(into: &buffer) ?? 0
    }
}
