// What the daemon's systemd unit hides from the daemon: for the tools, which run outside of it and see everything.
//
// Must never say that something is hidden if there is no such unit.

package import Kernel

extension HiddenFolders {
    /// What the system's daemon cannot see on this machine. Empty if systemd does not run here, or has no such unit.
    package static var ofService: HiddenFolders {
        UnitFiles.areInUse ? HiddenFolders(unitFilesBelow: "") : HiddenFolders(unit: UnitFiles.unit)
    }

    /// - Parameter root: what stands before the paths of the directories of units.
    package init(unitFilesBelow root: String) {
        guard let files = UnitFiles.texts(below: root) else {
            self.init(unit: UnitFiles.unit)
            return
        }
        self.init(unit: UnitFiles.unit, files: files)
    }

    /// - Parameter files: the texts of the unit's files, in the order in which they count.
    package init(unit: String, files: [String]) {
        var values: [HidingSetting: String] = [:]
        var shown: [String] = []
        for (name, value) in UnitFiles.settings(in: files) {
            if let setting = HidingSetting(rawValue: name) { values[setting] = value.lowercased() }
            if name == "BindReadOnlyPaths" || name == "BindPaths" { shown += Self.bound(value) }
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
