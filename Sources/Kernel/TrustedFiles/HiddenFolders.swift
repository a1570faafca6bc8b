// Which directories a systemd unit hides from its processes. Files below them do not exist for the daemon, though the
// admin sees them.
//
// It explains why a file is not there. Must never decide whether a file is handed out.

/// A setting of a unit that hides directories (systemd.exec(5)).
package enum HidingSetting: String, CaseIterable, Sendable {
    case protectHome = "ProtectHome"
    case privateTmp = "PrivateTmp"
    case privateDevices = "PrivateDevices"

    /// The directories that it hides.
    package var folders: [String] {
        switch self {
        case .protectHome: ["/home", "/root", "/run/user"]
        case .privateTmp: ["/tmp", "/var/tmp"]
        case .privateDevices: ["/dev"]
        }
    }

    /// Directories below them that it does not hide.
    var exceptions: [String] { self == .privateDevices ? ["/dev/shm", "/dev/mqueue", "/dev/hugepages"] : [] }

    /// The line with which the unit sees them again.
    package var remedy: String { "\(rawValue)=\(self == .protectHome ? "read-only" : "no")" }

    /// What to type, as the end of a message.
    /// - Parameter unit: the name of the daemon's unit.
    package func advice(unit: String) -> String {
        "type: systemctl edit \(unit), write the lines '[Service]' and '\(remedy)', and type: systemctl restart \(unit); "
            + "or keep the key elsewhere"
    }
}

/// The directories that a unit hides.
package struct HiddenFolders: Equatable, Sendable {
    package let unit: String
    /// Each hidden directory, and why.
    private let folders: [String: HidingSetting]
    /// Directories below them that the unit shows again.
    private let shown: [String]

    /// Nothing is hidden.
    package static let none = HiddenFolders(unit: "")

    package init(unit: String, folders: [String: HidingSetting] = [:], shown: [String] = []) {
        self.unit = unit
        self.folders = folders
        self.shown = shown
    }

    package var isEmpty: Bool { folders.isEmpty }

    /// Why a path is hidden. Nil if it is not.
    package func setting(hiding path: String) -> HidingSetting? {
        func isBelow(_ folder: String) -> Bool { path.hasPrefix(folder + "/") || path == folder }
        guard let setting = folders.first(where: { isBelow($0.key) })?.value else { return nil }
        return (setting.exceptions + shown).contains(where: isBelow) ? nil : setting
    }

    /// Why the file at `path` is not there, and what to type, as the end of a message. Nil if it is not hidden.
    package func explanation(of path: String) -> String? {
        setting(hiding: path).map { "\($0.rawValue)= of the unit \(unit) hides it; \($0.advice(unit: unit))" }
    }
}

extension HiddenFolders {
    private static let mostBytes = 1_048_576

    /// What the unit of this process hides from it, as its mounts show. They are read once: they stay as they are.
    package static let here: HiddenFolders = {
        // Without these files nothing is known, and then nothing is explained.
        let mounts = (try? readSmallFile("/proc/self/mountinfo", limit: mostBytes)) ?? []
        let groups = (try? readSmallFile("/proc/self/cgroup", limit: mostBytes)) ?? []
        return HiddenFolders(mounts: mounts, unit: unitName(inCgroups: groups) ?? "keybrokerd.service")
    }()

    /// - Parameter mounts: the lines of `/proc/PID/mountinfo` (proc(5)).
    package init(mounts: [UInt8], unit: String) {
        var folders: [String: HidingSetting] = [:]
        var points: [String] = []
        for line in mounts.split(separator: UInt8(ascii: "\n")) {
            let words = line.split(separator: UInt8(ascii: " ")).map { String(decoding: $0, as: UTF8.self) }
            guard words.count > 6, let dash = words.firstIndex(of: "-"), dash + 1 < words.count else { continue }
            let (root, point, kind) = (words[3], words[4], words[dash + 1])
            points.append(point)
            let isReadOnly = words[5].split(separator: ",").contains("ro")
            // A later mount is in front of an earlier one.
            if HidingSetting.protectHome.folders.contains(point) {
                let isHidden =
                    root.hasSuffix("/systemd/inaccessible/dir") || kind == "tmpfs" && root == "/" && isReadOnly
                folders[point] = isHidden ? .protectHome : nil
            }
            if HidingSetting.privateTmp.folders.contains(point) {
                let isPrivate = root.split(separator: "/").contains { $0.hasPrefix("systemd-private-") }
                folders[point] = isPrivate ? .privateTmp : nil
            }
        }
        // What is mounted below a hidden directory, the unit shows again.
        let shown = points.filter { point in folders.keys.contains { point.hasPrefix($0 + "/") } }
        self.init(unit: unit, folders: folders, shown: shown)
    }
}
