// Whose request is served next.
//
// Each account has one turn after the other, and each of its ends has one request in it. So who floods waits for itself.
// Must never lose an end that has something to read.

/// The ends that may have a request, in the order of their turns.
struct Turns {
    private var accounts = Line<UInt32>()
    private var ends: [UInt32: Line<UInt64>] = [:]
    private var waiting: Set<UInt64> = []

    var isEmpty: Bool { accounts.isEmpty }

    /// An end that waits already keeps its place.
    mutating func add(_ end: UInt64, of account: UInt32) {
        guard waiting.insert(end).inserted else { return }
        if ends[account] == nil { accounts.append(account) }
        ends[account, default: Line()].append(end)
    }

    /// Takes the next end out of the line.
    mutating func next() -> UInt64? {
        guard let account = accounts.popFirst(), let end = ends[account]?.popFirst() else { return nil }
        if ends[account]?.isEmpty ?? true { ends[account] = nil } else { accounts.append(account) }
        waiting.remove(end)
        return end
    }
}

/// First in, first out.
private struct Line<Element> {
    private var elements: [Element] = []
    private var start = 0

    var isEmpty: Bool { start == elements.count }

    mutating func append(_ element: Element) { elements.append(element) }

    mutating func popFirst() -> Element? {
        guard start < elements.count else { return nil }
        defer {
            start += 1
            // What was taken out is removed when it is the larger part, so that it costs little for each.
            if start > elements.count / 2 {
                elements.removeFirst(start)
                start = 0
            }
        }
        return elements[start]
    }
}
