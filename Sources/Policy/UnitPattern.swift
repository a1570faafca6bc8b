// The name of a systemd unit in a policy, in which `*` stands for any text.
//
// Must never match if the caller's unit is not known. Must never treat any character but `*` as special.

/// A unit's name, or a pattern of names: `nginx.service`, `stunnel@*.service`.
package struct UnitPattern: Hashable, Sendable, CustomStringConvertible {
    package let description: String
    private let bytes: [UInt8]

    /// Nil if no unit that has processes could have such a name.
    package init?(_ text: some Collection<UInt8>) {
        guard UnitPattern.fault(in: text) == nil else { return nil }
        bytes = Array(text)
        description = String(decoding: text, as: UTF8.self)
    }

    /// What is wrong with `text` as a pattern, or nil if it is valid.
    package static func fault(in text: some Collection<UInt8>) -> String? { fault(in: text, orStar: true) }

    /// What is wrong with `text` as the name of one unit, or nil if a unit that has processes can have that name.
    package static func fault(inName text: String) -> String? {
        let name = text.utf8
        if name.contains(UInt8(ascii: "*")) { return "* stands for many units; name one of them" }
        guard let fault = fault(in: name, orStar: false) else { return nil }
        let isWithoutKind = !name.contains(UInt8(ascii: ".")) && UnitPattern("\(text).service".utf8) != nil
        return fault + (isWithoutKind ? "; did you mean '\(text).service'?" : "")
    }

    private static func fault(in text: some Collection<UInt8>, orStar: Bool) -> String? {
        let allowed = Array(":_.\\@-*".utf8)
        let isAllowed = text.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
            default: allowed.contains(byte)
            }
        }
        guard isAllowed else {
            return "a unit name is made of letters, digits and : _ . \\ @ -" + (orStar ? ", with * for any part" : "")
        }
        let ends = [".service", ".scope", "*"]
        guard ends.contains(where: { text.count > $0.utf8.count - ($0 == "*" ? 1 : 0) && text.ends(with: $0) }) else {
            return "a unit that holds processes is named NAME.service or NAME.scope"
        }
        return nil
    }

    /// Whether it stands for more than one name.
    package var hasStar: Bool { bytes.contains(UInt8(ascii: "*")) }

    /// A unit of this pattern in which the system puts whoever logs in, or nil if there is none.
    var unitOfAnyUser: String? {
        hasStar ? ["session-1.scope", "session-c1.scope", "user@1000.service"].first(where: matches) : nil
    }

    /// Whether the pattern matches a unit of that name.
    package func matches(_ unit: String) -> Bool {
        let name = Array(unit.utf8)
        var (at, inName) = (0, 0)
        var lastStar: (at: Int, inName: Int)?
        while inName < name.count {
            if at < bytes.count, bytes[at] == UInt8(ascii: "*") {
                lastStar = (at, inName)
                at += 1
            } else if at < bytes.count, bytes[at] == name[inName] {
                at += 1
                inName += 1
            } else if let star = lastStar {
                // Let the last star match one more byte, and try again what follows it.
                lastStar = (star.at, star.inName + 1)
                at = star.at + 1
                inName = star.inName + 1
            } else {
                return false
            }
        }
        return bytes[at...].allSatisfy { $0 == UInt8(ascii: "*") }
    }
}

extension Collection<UInt8> {
    fileprivate func ends(with suffix: String) -> Bool {
        count >= suffix.utf8.count && dropFirst(count - suffix.utf8.count).elementsEqual(suffix.utf8)
    }
}
