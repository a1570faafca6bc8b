// The name from which the service manager connects when it loads a credential of a unit (LoadCredential= in
// systemd.exec(5)).
//
// Must never accept anything but exactly that form. It is only a claim.

/// Who the credential is for, and which one it is.
package struct CredentialAddress: Equatable, Sendable {
    package let unit: String
    package let id: String

    /// Decodes the name of a socket: NUL, a number in hexadecimal digits, `/unit/`, the unit, `/`, the credential's ID.
    /// Nil if it is anything else, as the name of a user's own service manager is.
    package init?(socketName name: [UInt8]) {
        guard name.first == 0 else { return nil }
        let parts = name.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard parts.count == 4, Self.isNumber(parts[0]), parts[1].elementsEqual("unit".utf8), Self.isUnit(parts[2]),
            Self.isID(parts[3])
        else { return nil }
        unit = String(decoding: parts[2], as: UTF8.self)
        id = String(decoding: parts[3], as: UTF8.self)
    }

    /// A 64-bit number as `%x` writes it.
    private static func isNumber(_ text: ArraySlice<UInt8>) -> Bool {
        (1...16).contains(text.count) && (text.count == 1 || text.first != UInt8(ascii: "0"))
            && text.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    /// The name of a service.
    private static func isUnit(_ text: ArraySlice<UInt8>) -> Bool {
        let isAllowed = text.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
            default: ":_.\\@-".utf8.contains(byte)
            }
        }
        let suffix = ".service"
        return isAllowed && text.count > suffix.utf8.count
            && text.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
    }

    /// A file name of printable ASCII without a colon.
    private static func isID(_ text: ArraySlice<UInt8>) -> Bool {
        !text.isEmpty && !text.elementsEqual(".".utf8) && !text.elementsEqual("..".utf8)
            && text.allSatisfy { (0x20...0x7E).contains($0) && $0 != UInt8(ascii: ":") }
    }
}
