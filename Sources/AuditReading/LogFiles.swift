// The files of a log: those that rotation left, compressed or not, and the one that is written to.
//
// Must never leave one out without saying so: a missing file looks like missing records.

internal import Audit
internal import Gzip
package import Kernel
internal import FileReading

/// The files of the log at a path, oldest first.
package struct LogFiles {
    /// With the number of the first record of each; the log itself, which may be empty, is the last.
    package let files: [(first: UInt64, path: String)]
    /// Compressed in a way that this program does not read.
    package let unreadable: [String]

    /// Those beside `path` whose names begin with its own, as rotation leaves them (`audit.jsonl.1`,
    /// `audit.jsonl-20261123.gz`), and itself.
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
            // One that is no log, such as a lock or an editor's copy, is passed over.
            guard case .whole(let line)? = try reader.next() else { continue }
            if let record = Link.taken(from: line[...]) {
                found.append((record.number, candidate))
            } else if line.starts(with: Self.recordBegin) {
                // A damaged record does not hide the file that it begins: it comes first, to be found out.
                found.append((0, candidate))
            }
        }
        files = found.sorted { $0.first < $1.first } + [(.max, absolute)]
        self.unreadable = unreadable
    }

    private static let recordBegin = Array(#"{"seq":"#.utf8)

    /// Files that somebody named, oldest first, in whatever order they were named: a shell's `audit.jsonl*`
    /// has the newest in front.
    package init(named paths: [String]) throws(Failure) {
        var found: [(first: UInt64, path: String)] = []
        for path in paths {
            var reader = LineReader(try LogBytes.opened(path), longest: Record.longest)
            // What is no log comes first, to be found out; an empty one is as good as none.
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

/// The bytes of one file, decompressed where it is a gzip file.
struct LogBytes: ~Copyable, ByteSource {
    // One of the two.
    private var plain: FileBytes?
    private var gzip: GzipFile?
    /// What the file is, to tell whether another one took its name; nil of a compressed one.
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
