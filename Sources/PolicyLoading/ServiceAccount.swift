// How the system's daemon judges owners, for the tools: they must call good what it hands out, and nothing else.
//
// Must never trust an account that the daemon does not trust. If systemd does not start the daemon, root does, and then
// root alone is trusted.

package import Kernel
package import NameLookup
internal import Wire

extension TrustedOwners {
    /// The owners that the system's daemon trusts on this machine: root, and the account that its unit names.
    package static var ofService: TrustedOwners {
        guard ((try? statusFollowing("/run/systemd/system")) ?? nil)?.kind == .directory,
            let name = ServiceAccount.name(unitFilesBelow: ""), let uid = ServiceAccount.uid(name)
        else { return TrustedOwners(startedBy: 0) }
        return TrustedOwners(startedBy: uid)
    }
}

/// The account of the daemon's systemd unit.
package enum ServiceAccount {
    private static let unit = "keybrokerd.service"
    /// The directories of units, the first ones before the others (systemd.unit(5)).
    private static let folders = ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"].map { "\($0)/systemd/system" }
    private static let mostBytes = 1_048_576

    /// `User=` of the unit and its drop-ins. Nil if there is no such unit, or it names none.
    /// - Parameter root: what stands before the paths of the directories of units.
    package static func name(unitFilesBelow root: String) -> String? {
        let places = folders.map { root + $0 }
        guard let main = places.lazy.compactMap({ text("\($0)/\(unit)") }).first else { return nil }
        // Of drop-ins of the same name the first one counts, and they are read in the order of their names.
        var dropIns: [String: String] = [:]
        for place in places {
            for name in (try? directoryEntries("\(place)/\(unit).d")) ?? [] where name.hasSuffix(".conf") {
                if dropIns[name] == nil { dropIns[name] = text("\(place)/\(unit).d/\(name)") }
            }
        }
        return name(inFiles: [main] + dropIns.sorted { $0.key < $1.key }.map(\.value))
    }

    /// - Parameter files: the texts of the unit's files, in the order in which they count.
    package static func name(inFiles files: [String]) -> String? {
        var user: String?
        for file in files {
            var section = ""
            for line in file.split(whereSeparator: \.isNewline) {
                let words = line.split(whereSeparator: { " \t=".contains($0) })
                if line.hasPrefix("[") { section = String(line.prefix { $0 != " " }) }
                guard section == "[Service]", words.first == "User", line.contains("=") else { continue }
                user = words.count == 2 ? String(words[1]) : nil
            }
        }
        return user
    }

    static func uid(_ name: String) -> UInt32? {
        if let number = decimal(name, as: UInt32.self) { return number }
        return ((try? Accounts.user(named: name)) ?? nil)?.uid
    }

    private static func text(_ path: String) -> String? {
        (try? readSmallFile(path, limit: mostBytes)).map { String(decoding: $0, as: UTF8.self) }
    }
}

extension TrustError {
    /// The reason, for a person at a tool: with the names of accounts, and with what to type. The daemon has the numbers
    /// alone.
    package func explained(by names: NameService) -> String {
        guard case .here = names, let distrust else { return description }
        let sentence = distrust.sentence(
            user: { uid in ((try? Accounts.user(numbered: uid)) ?? nil).map { "\($0.name)(\(uid))" } ?? "uid \(uid)" },
            group: { gid in
                "group " + (((try? Accounts.group(numbered: gid)) ?? nil).map { "\($0)(\(gid))" } ?? "\(gid)")
            })
        return "\(sentence); \(distrust.advice)"
    }
}
