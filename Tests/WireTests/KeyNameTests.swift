import Testing

@testable import Wire

struct KeyNameTests {
    @Test func everyByteAloneAndAsASecond() {
        for byte in UInt8.min...UInt8.max {
            let isFirst = (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte)
            let isLater = isFirst || byte == 0x2E || byte == 0x5F || byte == 0x2D
            #expect((KeyName([byte]) != nil) == isFirst)
            #expect((KeyName([0x61, byte]) != nil) == isLater)
        }
    }

    @Test func lengths() {
        #expect(KeyName("") == nil)
        #expect(KeyName(String(repeating: "a", count: 63)) != nil)
        #expect(KeyName(String(repeating: "a", count: 64)) == nil)
    }

    @Test func faultsAreSentences() {
        #expect(KeyName.fault(in: Array("web".utf8)[...]) == nil)
        #expect(KeyName.fault(in: []) == "a key name is missing")
        #expect(KeyName.fault(in: Array("Web".utf8)[...])?.contains("a-z") == true)
    }
}
