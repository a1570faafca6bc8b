// Hands objects of one thread over to another one.
//
// Must never leave an object with both: who hands it over keeps no reference, which the compiler checks.

internal import Synchronization

/// Objects that one thread has handed over and another one has not taken yet, each under a number.
package final class Handover<Object>: Sendable {
    /// What is between the threads is used by neither.
    private final class Parcel: Sendable {
        // Safety: `init` has the object of somebody who does not keep it, and the parcel is opened once.
        private nonisolated(unsafe) let object: Object

        // Safety: as above.
        init(_ object: sending Object) { unsafe self.object = object }

        /// Call this once.
        // Safety: as above.
        func open() -> sending Object { unsafe object }
    }

    private let parcels = Mutex<[UInt64: Parcel]>([:])

    package init() {}

    /// Hands an object over. The other thread has to be told the number.
    package func put(_ object: sending Object, for number: UInt64) {
        let parcel = Parcel(object)
        parcels.withLock { $0[number] = parcel }
    }

    /// The object of that number, for the thread that calls this. Nil if there is none, or it was taken.
    package func take(_ number: UInt64) -> sending Object? {
        parcels.withLock { $0.removeValue(forKey: number) }?.open()
    }
}
