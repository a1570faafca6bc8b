// Makes the library's errors known to Foundation, so that `localizedDescription` is their text.
//
// The library has no Foundation, and `localizedDescription` asks for a protocol of it. So this is a product of its own,
// for programs that have Foundation anyway. Must never have a text of its own.

public import Foundation
public import KeyBrokerClient

extension KeyBrokerError: LocalizedError {
    /// The same text as `description`.
    public var errorDescription: String? { description }
}
