// Selects the records that somebody wants to see.

package import Kernel
package import Policy

/// The conditions for a record to be shown. Nil means no condition.
package struct Selection {
    /// A user by number, by name, or by both if the name is known on this machine.
    package struct User {
        package let uid: UInt32?
        package let name: String?

        package init(uid: UInt32?, name: String?) {
            self.uid = uid
            self.name = name
        }
    }

    private let key: [UInt8]?
    private let user: User?
    private let unit: UnitPattern?
    private let decision: [UInt8]?
    private let since: [UInt8]?
    private let until: [UInt8]?
    private let numbers: ClosedRange<UInt64>?

    /// - Parameter until: the end, which is not included.
    package init(
        key: String? = nil, user: User? = nil, unit: UnitPattern? = nil, decision: String? = nil,
        since: WallTime? = nil,
        until: WallTime? = nil, numbers: ClosedRange<UInt64>? = nil
    ) {
        self.key = key.map { Array($0.utf8) }
        self.user = user
        self.unit = unit
        self.decision = decision.map { Array($0.utf8) }
        // Times are in the form of the log, in UTC and of equal length, so that their bytes can be compared.
        self.since = since.map { Array($0.rfc3339.utf8) }
        self.until = until.map { Array($0.rfc3339.utf8) }
        self.numbers = numbers
    }

    package func includes(_ record: LoggedRecord) -> Bool {
        if let key, !record.says(.key, key) { return false }
        if let decision, !record.says(.decision, decision) { return false }
        if since != nil || until != nil {
            guard let time = record.bytes(.time) else { return false }
            if let since, time.lexicographicallyPrecedes(since) { return false }
            if let until, !time.lexicographicallyPrecedes(until) { return false }
        }
        if let numbers, record.number(.seq).map(numbers.contains) != true { return false }
        if let user, !isBy(user, record) { return false }
        if let unit, record.text(.unit).map(unit.matches) != true { return false }
        return true
    }

    private func isBy(_ user: User, _ record: LoggedRecord) -> Bool {
        if let uid = user.uid, record.number(.uid) == UInt64(uid) { return true }
        return user.name.map { record.says(.user, Array($0.utf8)) } ?? false
    }
}
