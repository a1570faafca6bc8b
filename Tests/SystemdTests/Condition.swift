// Why the suites of this target need root.

import TestSupport
import Testing

extension Machine {
    static let condition: ConditionTrait = .enabled(if: isRoot, "needs root: it boots a systemd in a container")
}
