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
        guard UnitFiles.areInUse, let name = ServiceAccount.name(unitFilesBelow: ""),
            let uid = ServiceAccount.uid(name)
        else { return TrustedOwners(startedBy: 0) }
        return TrustedOwners(startedBy: uid)
    }
}

/// The account of the daemon's systemd unit.
package enum ServiceAccount {
    /// `User=` of the unit and its drop-ins. Nil if there is no such unit, or it names none.
    /// - Parameter root: what stands before the paths of the directories of units.
    package static func name(unitFilesBelow root: String) -> String? {
        UnitFiles.texts(below: root).flatMap(name(inFiles:))
    }

    /// - Parameter files: the texts of the unit's files, in the order in which they count.
    package static func name(inFiles files: [String]) -> String? {
        guard let user = UnitFiles.settings(in: files).last(where: { $0.name == "User" })?.value else { return nil }
        return user.isEmpty || user.contains { " \t=".contains($0) } ? nil : user
    }

    /// The account that the daemon becomes if root starts it and names no other.
    static let standard = "keybroker"

    /// The uid that the system's daemon runs as on this machine. Nil if there is no such account.
    package static var uid: UInt32? { uid(unitFilesBelow: UnitFiles.areInUse ? "" : nil) }

    /// - Parameter root: what stands before the paths of the directories of units. Nil if systemd does not start the
    ///   daemon.
    package static func uid(unitFilesBelow root: String?) -> UInt32? {
        uid(root.flatMap { name(unitFilesBelow: $0) } ?? standard)
    }

    static func uid(_ name: String) -> UInt32? {
        if let number = decimal(name, as: UInt32.self) { return number }
        return ((try? Accounts.user(named: name)) ?? nil)?.uid
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
