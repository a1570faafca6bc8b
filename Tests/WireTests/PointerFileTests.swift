import Foundation
import Testing

@testable import Wire

struct PointerFileTests {
    @Test func asTheContractHasIt() throws {
        let file = PointerFile(to: try #require(KeyName("web-tls")))
        #expect(file.der == [0x30, 19, 0x0C, 17] + Array("keybroker:web-tls".utf8))
        #expect(
            file.lines == [
                "-----BEGIN KEYBROKER URI-----", "MBMMEWtleWJyb2tlcjp3ZWItdGxz", "-----END KEYBROKER URI-----",
            ])
    }

    @Test func everyLength() throws {
        for length in 1...KeyName.longest {
            let file = PointerFile(to: try #require(KeyName(String(repeating: "k", count: length))))
            #expect(file.lines.allSatisfy { $0.utf8.count <= 64 })
            #expect(Data(base64Encoded: file.lines.dropFirst().dropLast().joined()) == Data(file.der))
        }
    }
}
