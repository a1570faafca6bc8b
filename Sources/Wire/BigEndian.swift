// Numbers in packets that are not text: big-endian, of a fixed length.
//
// Must never read past the end of a packet.

extension [UInt8] {
    mutating func append(bigEndian number: some FixedWidthInteger & UnsignedInteger) {
        for shift in stride(from: number.bitWidth - 8, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }
}

extension ArraySlice<UInt8> {
    /// Takes a number from the front. Nil, and nothing is taken, if there are too few bytes.
    mutating func takeBigEndian<Number: FixedWidthInteger & UnsignedInteger>(_: Number.Type) -> Number? {
        let length = Number.bitWidth / 8
        guard count >= length else { return nil }
        var number: Number = 0
        for byte in prefix(length) { number = number << 8 | Number(byte) }
        self = dropFirst(length)
        return number
    }
}
