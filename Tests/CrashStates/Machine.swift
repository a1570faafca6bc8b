// A machine's log directory in memory, with the calls that are made on it. It stands in for the kernel under the real
// log.
//
// Must never know what a power cut does: that is the subject of Disk.

internal import Audit
package import Kernel

/// A call that changed the files, in the order in which they were made.
package enum Call: Sendable {
    case create(file: Int, String)
    case write(file: Int, [UInt8])
    case cut(file: Int, Int)
    /// `fdatasync(2)` has returned.
    case sync(file: Int)
    /// `fsync(2)` of the directory has returned.
    case syncFolder
    /// By logrotate, not by the daemon.
    case rename(String, String)
    /// It was said that the records up to this number are in the log: keys may have left.
    case acknowledge(Int)
}

extension Call {
    /// The call on one line, without the bytes.
    var words: String {
        switch self {
        case .create(let file, let name): "create \(file) as \(name)"
        case .write(let file, let bytes): "write \(bytes.count) bytes to \(file)"
        case .cut(let file, let size): "cut \(file) to \(size) bytes"
        case .sync(let file): "fdatasync \(file)"
        case .syncFolder: "fsync of the directory"
        case .rename(let old, let new): "rename \(old) to \(new)"
        case .acknowledge(let number): "acknowledge up to record \(number)"
        }
    }
}

/// Files in memory. A file is named by its index.
package final class Machine {
    package private(set) var calls: [Call] = []
    package private(set) var files: [[UInt8]]
    package private(set) var names: [String: Int]
    private var changed: [Int]
    /// How many calls fail, and how.
    package var faults = Faults()
    /// Called before `fdatasync`, for what others do at that moment.
    package var beforeSync: () -> Void = {}

    package struct Faults {
        /// A write takes this many bytes of the next one, and fails. Nil: it takes all.
        package var writeTakes: Int?
        package var failingSyncs = 0
        package var failingCuts = 0

        package init() {}
    }

    package static let log = "/log/audit.jsonl"

    package init(files: [[UInt8]] = [], names: [String: Int] = [:]) {
        (self.files, self.names) = (files, names)
        changed = Array(repeating: 0, count: files.count)
    }

    /// The files of the log by their names, the oldest names first. Files that the recovery kept are left out.
    package var logFiles: [(name: String, bytes: [UInt8])] {
        names.filter { $0.key.hasPrefix(Self.log) }.sorted { $0.key < $1.key }.map { ($0.key, files[$0.value]) }
    }

    package func acknowledge(_ number: UInt64) { calls.append(.acknowledge(Int(number))) }

    /// As rename(2) does.
    package func rename(_ old: String, to new: String) {
        names[new] = names.removeValue(forKey: old)
        calls.append(.rename(old, new))
    }

    package func create(_ name: String) -> Int {
        if let file = names[name] { return file }
        files.append([])
        changed.append(calls.count)
        names[name] = files.count - 1
        calls.append(.create(file: files.count - 1, name))
        return files.count - 1
    }

    fileprivate func status(_ file: Int) -> FileStatus {
        FileStatus(
            regularFileOf: files[file].count, device: 1, inode: UInt64(file + 1),
            links: names.values.contains(file) ? 1 : 0, modified: WallTime(seconds: changed[file], nanoseconds: 0))
    }

    fileprivate func write(_ bytes: [UInt8], to file: Int, counting written: inout Int) throws(Failure) {
        let taken = faults.writeTakes.map { Array(bytes.prefix($0)) } ?? bytes
        if !taken.isEmpty {
            calls.append(.write(file: file, taken))
            files[file] += taken
            changed[file] = calls.count
            written += taken.count
        }
        if faults.writeTakes != nil { throw Failure("write", code: 28) }
    }

    fileprivate func sync(_ file: Int) throws(Failure) {
        beforeSync()
        if faults.failingSyncs > 0 {
            faults.failingSyncs -= 1
            throw Failure("fdatasync", code: 5)
        }
        calls.append(.sync(file: file))
    }

    fileprivate func cut(_ file: Int, to size: Int) throws(Failure) {
        if faults.failingCuts > 0 {
            faults.failingCuts -= 1
            throw Failure("ftruncate", code: 5)
        }
        files[file].removeLast(max(0, files[file].count - size))
        changed[file] = calls.count
        calls.append(.cut(file: file, size))
    }

    fileprivate func syncFolder() { calls.append(.syncFolder) }
}

/// A file of such a machine, as the log sees it.
package struct MachineFile: LogFile, ~Copyable {
    private let machine: Machine
    private let file: Int
    package let device: UInt64 = 1
    package var inode: UInt64 { UInt64(file + 1) }

    package init(_ path: String, in folder: MachineFolder) throws(Failure) {
        machine = folder.machine
        file = machine.create(path)
    }

    package borrowing func status() throws(Failure) -> FileStatus { machine.status(file) }

    package borrowing func append(_ bytes: [UInt8], counting written: inout Int) throws(Failure) {
        try machine.write(bytes, to: file, counting: &written)
    }

    package borrowing func sync() throws(Failure) { try machine.sync(file) }
    package borrowing func cut(to size: Int) throws(Failure) { try machine.cut(file, to: size) }
    package borrowing func tail(limit: Int) throws(Failure) -> [UInt8] { Array(machine.files[file].suffix(limit)) }
}

/// The directory of such a machine. Everybody is trusted.
package struct MachineFolder: LogFolder {
    let machine: Machine

    package init(_ machine: Machine) { self.machine = machine }

    package func checkDirectories(aboveLog path: String) throws(TrustError) {}
    package func checkLog(_ status: FileStatus, _ path: String) throws(TrustError) {}
    package func sync(above path: String) throws(Failure) { machine.syncFolder() }

    package func names(in directory: String) throws(Failure) -> [String] {
        machine.names.keys.compactMap { $0.hasPrefix("/log/") ? String($0.dropFirst(5)) : nil }.sorted()
    }

    package func status(of path: String) throws(Failure) -> FileStatus? { machine.names[path].map(machine.status) }

    package func tail(of path: String, limit: Int) throws(Failure) -> (bytes: [UInt8], total: Int)? {
        machine.names[path].map { (Array(machine.files[$0].suffix(limit)), machine.files[$0].count) }
    }
}
