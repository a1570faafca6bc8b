import Testing

@testable import keybroker_signer

/// Whose request is served next.
struct TurnTests {
    @Test func eachAccountHasItsTurn() {
        var turns = Turns()
        #expect(turns.isEmpty && turns.next() == nil)
        for end in 1...1000 as ClosedRange<UInt64> { turns.add(end, of: 1) }
        turns.add(2001, of: 2)
        turns.add(3001, of: 3)
        turns.add(2002, of: 2)
        #expect((0..<6).map { _ in turns.next() } == [1, 2001, 3001, 2, 2002, 3])
        // Who comes later waits for one request of each other account.
        turns.add(4001, of: 4)
        #expect((0..<3).map { _ in turns.next() } == [4, 4001, 5])
    }

    @Test func anEndWaitsOnce() {
        var turns = Turns()
        turns.add(1, of: 1)
        turns.add(1, of: 1)
        turns.add(2, of: 1)
        #expect((0..<3).map { _ in turns.next() } == [1, 2, nil])
        turns.add(1, of: 1)
        #expect(turns.next() == 1 && turns.isEmpty)
    }

    /// Whatever is added comes out once, and each account's in their order.
    @Test func nothingIsLost() {
        var turns = Turns()
        var expected: [UInt64] = []
        var got: [UInt64] = []
        for number in 0..<10_000 as Range<UInt64> {
            turns.add(number, of: UInt32(number % 7))
            expected.append(number)
            if number % 3 == 0, let end = turns.next() { got.append(end) }
        }
        while let end = turns.next() { got.append(end) }
        #expect(got.sorted() == expected)
        for account in 0..<7 as Range<UInt64> {
            let own = got.filter { $0 % 7 == account }
            #expect(own == own.sorted())
        }
    }
}
