// Reads from the files of the daemon's systemd unit what the unit hides from the daemon: for the tools, which run outside of
// it and see everything.
//
// Must never run a program, and never say that something is hidden if there is no such unit.

package import Kernel

extension HiddenFolders {
    /// What the system's daemon cannot see on this machine. Empty if systemd does not run here, or has no such unit.
    package static var ofService: HiddenFolders {
        guard ((try? statusFollowing("/run/systemd/system")) ?? nil)?.kind == .directory else {
            return HiddenFolders(unit: unitOfService)
        }
        return HiddenFolders(unitFilesBelow: "")
    }

    private static let unitOfService = "keybrokerd"
    /// The directories of units, the first ones before the others (systemd.unit(5)).
    private static let folders = ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"].map { "\($0)/systemd/system" }
    private static let mostBytes = 1_048_576

    /// - Parameter root: what stands before the paths of the directories of units.
    package init(unitFilesBelow root: String) {
        let places = Self.folders.map { root + $0 }
        let unit = "\(Self.unitOfService).service"
        let main = places.lazy.compactMap { Self.text("\($0)/\(unit)") }.first
        guard let main else {
            self.init(unit: Self.unitOfService)
            return
        }
        // Of drop-ins of the same name the first one counts, and they are read in the order of their names.
        var dropIns: [String: String] = [:]
        for folder in ["\(unit).d", "service.d"] {
            for place in places {
                for name in (try? directoryEntries("\(place)/\(folder)")) ?? [] where name.hasSuffix(".conf") {
                    if dropIns[name] == nil { dropIns[name] = Self.text("\(place)/\(folder)/\(name)") }
                }
            }
        }
        self.init(unit: Self.unitOfService, files: [main] + dropIns.sorted { $0.key < $1.key }.map(\.value))
    }

    private static func text(_ path: String) -> String? {
        (try? readSmallFile(path, limit: mostBytes)).map { String(decoding: $0, as: UTF8.self) }
    }

    /// - Parameter files: the texts of the unit's files, in the order in which they count.
    package init(unit: String, files: [String]) {
        var values: [HidingSetting: String] = [:]
        var shown: [String] = []
        for file in files {
            var section = ""
            for line in file.split(whereSeparator: \.isNewline).map(trimmed) {
                if line.hasPrefix("[") { section = line }
                guard section == "[Service]", let equals = line.firstIndex(of: "=") else { continue }
                let (name, value) = (trimmed(line[..<equals]), trimmed(line[line.index(after: equals)...]))
                if let setting = HidingSetting(rawValue: name) { values[setting] = value.lowercased() }
                if name == "BindReadOnlyPaths" || name == "BindPaths" { shown += Self.bound(value) }
            }
        }
        var folders: [String: HidingSetting] = [:]
        for (setting, value) in values where Self.hides(value) {
            for folder in setting.folders { folders[folder] = setting }
        }
        self.init(unit: unit, folders: folders, shown: shown)
    }

    /// Whether a value hides the directories. `ProtectHome=read-only` does not.
    private static func hides(_ value: String) -> Bool {
        ["yes", "true", "on", "1", "y", "t", "tmpfs"].contains(value)
    }

    /// The directories that are bound: `SOURCE[:DESTINATION[:OPTIONS]]`, each perhaps with `-` before it.
    private static func bound(_ value: String) -> [String] {
        value.split(separator: " ").compactMap { word in
            let parts = word.drop { $0 == "-" || $0 == "+" }.split(separator: ":", omittingEmptySubsequences: false)
            return parts.count > 1 ? String(parts[1]) : parts.first.map(String.init)
        }
    }
}

private func trimmed(_ text: some StringProtocol) -> String {
    let begin = text.drop { $0 == " " || $0 == "\t" }
    return String(begin.reversed().drop { $0 == " " || $0 == "\t" || $0 == "\r" }.reversed())
}
