// The machine of tests with random policies.

import Policy

/// A machine without named accounts, for policies that name only numbers.
var numbersOnly: Resolver {
    Resolver(
        overflowUID: 65_534, overflowGID: 65_534, user: { _ in .unknown }, group: { _ in .unknown }, fault: { _ in nil }
    )
}
