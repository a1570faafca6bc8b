// The name of the service manager's socket: exactly one form is accepted.

import Testing

@testable import Wire

struct CredentialAddressTests {
    private func address(_ text: String) -> CredentialAddress? { CredentialAddress(socketName: Array(text.utf8)) }

    @Test func theManagersName() throws {
        let known = try #require(address("\0adf9d86b6eda275e/unit/foobar.service/credx"))
        #expect(known.unit == "foobar.service" && known.id == "credx")
        #expect(address("\00/unit/a.service/b")?.id == "b")
        #expect(address("\0ffffffffffffffff/unit/a@x\\x2dy:1.service/web.bundle")?.unit == "a@x\\x2dy:1.service")
    }

    @Test(arguments: [
        "", "\0", "1/unit/a.service/b", "\01/unit/a.service", "\01/unit/a.service/", "\01/unit//b",
        "\0/unit/a.service/b",
        "\01/user/a.service/b", "\01/unit/a.service/b/", "\01/unit/a.service/b/c", "\01//unit/a.service/b",
        "\001/unit/a.service/b", "\0A/unit/a.service/b", "\0g/unit/a.service/b", "\0+1/unit/a.service/b",
        "\010000000000000000/unit/a.service/b", "\01/unit/a.service/.", "\01/unit/a.service/..",
        "\01/unit/a.service/b:c", "\01/unit/a.service/b\n", "\01/unit/a.service/b\0", "\01/unit/a.service\0/b",
        "\01/unit/.service/b", "\01/unit/a/b", "\01/unit/a.scope/b", "\01/unit/a.mount/b", "\01/unit/a*.service/b",
        "\01/unit/a b.service/b",
        "\01/unit/a.service/\u{e9}", "\0\01/unit/a.service/b", "/1/unit/a.service/b", "\01/UNIT/a.service/b",
        "\01/unit /a.service/b", "\01 /unit/a.service/b",
    ])
    func otherNames(_ text: String) { #expect(address(text) == nil) }

    /// Every byte in every place of a good name: what is accepted has the parts that it shows.
    @Test func everyByteEverywhere() {
        let good = Array("\0a1/unit/a.service/web".utf8)
        for place in good.indices {
            for byte in UInt8.min...UInt8.max {
                for inserts in [true, false] {
                    var bytes = good
                    if inserts { bytes.insert(byte, at: place) } else { bytes[place] = byte }
                    guard let address = CredentialAddress(socketName: bytes) else { continue }
                    let parts = bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
                    #expect(parts.count == 4 && bytes.first == 0)
                    #expect(address.unit.utf8.elementsEqual(parts[2]) && address.id.utf8.elementsEqual(parts[3]))
                    #expect((address.unit + address.id).utf8.allSatisfy { (0x20...0x7E).contains($0) })
                    #expect(!address.unit.contains("*"))
                }
            }
        }
    }
}
