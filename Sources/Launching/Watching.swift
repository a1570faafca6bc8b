// The process that keeps the files of a command up to date, for as long as the command runs.
//
// Must never outlive the command, nor keep it from ending. Must never wait for anything but the broker, the command and
// the time.

internal import ClientKernel
internal import Kernel
internal import KeyBrokerClient
internal import Wire

/// Renews the files of watched keys, and tells the command.
struct Watching {
    let keys: [WatchedKey]
    let service: Service
    let notifier: Notifier

    /// Returns when the command has ended.
    func run() throws(Failure) {
        while true {
            // The descriptors of the watches stay the same until the next call of `advance`.
            let numbers = [service.handle.withNumber { $0 }, notifier.number] + keys.map(\.number)
            let due = (keys.map(\.due) + [notifier.due]).compactMap { $0 }.min()
            let ready = try waitUntilReadable(numbers, until: due)
            if ready[0] { return notifier.end() }
            for key in keys where key.advance() { notifier.filesHaveChanged() }
            notifier.advance()
        }
    }
}
