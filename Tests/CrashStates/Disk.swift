// What a power cut may leave of files: the model of a file system.
//
// What was synchronized is there. Of what came after, each block may be there, or an older state of it, or zeros; the
// size may be that after any of the calls. Names change in order, and only a synchronized directory makes sure of them.
// Must never be kinder than a real file system.

import TestSupport

/// The files on a disk: what is certain, and what is on its way.
struct Disk {
    /// The states that a file went through. The first one is certain.
    private var files: [[[UInt8]]]
    private var names: [String: Int]
    private var nameChanges: [Call] = []
    /// Whether `fdatasync` of a file also makes the names certain, as journals do.
    private let hasJournal: Bool

    /// - Parameters: the files that are certain.
    init(files: [[UInt8]] = [], names: [String: Int] = [:], hasJournal: Bool) {
        self.files = files.map { [$0] }
        (self.names, self.hasJournal) = (names, hasJournal)
    }

    mutating func apply(_ call: Call) {
        switch call {
        case .create(let file, _):
            while files.count <= file { files.append([[]]) }
            nameChanges.append(call)
        case .rename: nameChanges.append(call)
        case .write(let file, let bytes): files[file].append(latest(file) + bytes)
        case .cut(let file, let size): files[file].append(Array(latest(file).prefix(size)))
        case .sync(let file):
            files[file] = [latest(file)]
            if hasJournal { syncNames() }
        case .syncFolder: syncNames()
        case .acknowledge: break
        }
    }

    private func latest(_ file: Int) -> [UInt8] { files[file].last ?? [] }

    private mutating func syncNames() {
        for change in nameChanges { Self.apply(change, to: &names) }
        nameChanges = []
    }

    private static func apply(_ change: Call, to names: inout [String: Int]) {
        switch change {
        case .create(let file, let name): names[name] = file
        case .rename(let old, let new): names[new] = names.removeValue(forKey: old)
        default: break
        }
    }

    // MARK: The power cut

    /// One of the states that a power cut may leave.
    func afterPowerCut(_ random: inout Seeded) -> (files: [[UInt8]], names: [String: Int]) {
        var left = names
        for change in nameChanges.prefix(Int.random(in: 0...nameChanges.count, using: &random)) {
            Self.apply(change, to: &left)
        }
        return (files.map { Self.oneOf($0, &random) }, left)
    }

    private static func oneOf(_ states: [[UInt8]], _ random: inout Seeded) -> [UInt8] {
        guard states.count > 1 else { return states[0] }
        // Most crashes come in the last calls.
        let last =
            Int.random(in: 0..<3, using: &random) == 0
            ? Int.random(in: 1..<states.count, using: &random) : states.count - 1
        switch Int.random(in: 0..<6, using: &random) {
        case 0: return states[last]
        case 1: return torn(states[last - 1], states[last], &random)
        case 2:
            // The size is there, and the end is not.
            let whole = states[last]
            let part = torn(states[last - 1], whole, &random)
            return part + [UInt8](repeating: 0, count: max(0, whole.count - part.count))
        default: return mixed(states, last, &random)
        }
    }

    /// A state between two, at any byte.
    private static func torn(_ old: [UInt8], _ new: [UInt8], _ random: inout Seeded) -> [UInt8] {
        guard new.count > old.count else { return Bool.random(using: &random) ? old : new }
        return Array(new.prefix(Int.random(in: old.count...new.count, using: &random)))
    }

    /// Each block is in one of the states up to `last`. The size is that of one of them, or was cut short.
    private static func mixed(_ states: [[UInt8]], _ last: Int, _ random: inout Seeded) -> [UInt8] {
        let block = [1, 16, 64, 512, 512, 4096].randomElement(using: &random) ?? 512
        let certain = states[0]
        let from = Int.random(in: 0..<last, using: &random)
        let size = states[Int.random(in: from...last, using: &random)].count
        // What is equal in all states needs no choice.
        var unchanged = min(certain.count, size)
        for state in states[1...last] { unchanged = min(unchanged, state.count) }
        var left = Array(states[last].prefix(min(unchanged, states[last].count)))
        while left.count < size {
            let end = min(size, (left.count / block + 1) * block)
            let state = states[Int.random(in: from...last, using: &random)]
            let part = state.count > left.count ? state[left.count..<min(end, state.count)] : []
            left += part
            left += [UInt8](repeating: 0, count: end - left.count)
        }
        return left
    }
}
