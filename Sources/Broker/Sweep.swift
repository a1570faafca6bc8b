// Names that are looked at a few at a time, after a reload: which of them has left the policy?
//
// Must never look at all of them at once, as there can be a hundred thousand, and callers wait.

internal import Wire

struct Sweep {
    private var left: [KeyName] = []

    var isDone: Bool { left.isEmpty }

    /// Begins again, with these names.
    mutating func begin(_ names: some Collection<KeyName>) { left = Array(names) }

    /// The next names to look at.
    mutating func take() -> [KeyName] {
        let taken = Array(left.suffix(Limits.namesPerSweep))
        left.removeLast(taken.count)
        return taken
    }
}
