// Reads the files of the daemon's systemd unit, for the tools: what it says is in force for the daemon, but not for them.
//
// Must never run a program, and never take anything for said by a unit that is not there.

internal import Kernel

/// The settings of the daemon's unit and its drop-ins.
enum UnitFiles {
    static let unit = "keybrokerd"
    /// The directories of units, the first ones before the others (systemd.unit(5)).
    private static let folders = ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"].map { "\($0)/systemd/system" }
    private static let mostBytes = 1_048_576

    /// Whether systemd runs on this machine, as sd_booted(3) tells.
    static var areInUse: Bool { ((try? statusFollowing("/run/systemd/system")) ?? nil)?.kind == .directory }

    /// The texts of the unit's files, in the order in which they count. Nil if there is no such unit.
    /// - Parameter root: what stands before the paths of the directories of units.
    static func texts(below root: String) -> [String]? {
        let places = folders.map { root + $0 }
        let unit = "\(unit).service"
        guard let main = places.lazy.compactMap({ text("\($0)/\(unit)") }).first else { return nil }
        // Of drop-ins of the same name the first one counts, and they are read in the order of their names.
        var dropIns: [String: String] = [:]
        for folder in ["\(unit).d", "service.d"] {
            for place in places {
                for name in (try? directoryEntries("\(place)/\(folder)")) ?? [] where name.hasSuffix(".conf") {
                    if dropIns[name] == nil { dropIns[name] = text("\(place)/\(folder)/\(name)") }
                }
            }
        }
        return [main] + dropIns.sorted { $0.key < $1.key }.map(\.value)
    }

    private static func text(_ path: String) -> String? {
        (try? readSmallFile(path, limit: mostBytes)).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The settings of the section `[Service]`, in the order in which they count.
    /// - Parameter files: the texts of the unit's files.
    static func settings(in files: [String]) -> [(name: String, value: String)] {
        files.flatMap { file in
            var section = ""
            return file.split(whereSeparator: \.isNewline).map(trimmed).compactMap { line -> (String, String)? in
                if line.hasPrefix("[") { section = line }
                guard section == "[Service]", let equals = line.firstIndex(of: "=") else { return nil }
                return (trimmed(line[..<equals]), trimmed(line[line.index(after: equals)...]))
            }
        }
    }
}

private func trimmed(_ text: some StringProtocol) -> String {
    let begin = text.drop { $0 == " " || $0 == "\t" }
    return String(begin.reversed().drop { $0 == " " || $0 == "\t" || $0 == "\r" }.reversed())
}
