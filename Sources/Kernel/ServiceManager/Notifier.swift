// Tells the service manager of the state of the service (sd_notify(3)).
//
// Every account may write to the service manager's socket. Some processes that do that all the time keep it full, and a
// message that is only tried now and then finds no room: the service manager would take the daemon for a hanging one, and
// end it. So a thread waits for room. Must never keep the event loop waiting, and must never hold more messages than there
// are kinds.

internal import CKernel
internal import Glibc
internal import Synchronization

/// What the service manager has not been told yet. Each message is newer than those before it.
struct Notifications {
    enum Kind {
        case ready, reloading, status, alive, stopping

        /// What is no longer true, or no longer of interest, when this is.
        fileprivate var replaced: [Kind] {
            switch self {
            case .reloading: [.reloading, .ready, .status]
            case .ready: [.ready, .status]
            case .status, .alive, .stopping: [self]
            }
        }
    }

    private var waiting: [(kind: Kind, text: String)] = []

    var isEmpty: Bool { waiting.isEmpty }

    mutating func add(_ kind: Kind, _ text: String) {
        let replaced = kind.replaced
        waiting.removeAll { replaced.contains($0.kind) }
        waiting.append((kind, text))
    }

    /// Takes the oldest message. Nil if there is none.
    mutating func next() -> String? { waiting.isEmpty ? nil : waiting.removeFirst().text }
}

/// Sends messages to the service manager, in a thread if there is one.
final class Notifier: Sendable {
    /// It is made once: the daemon must be able to say that it is alive when there are no descriptors left.
    private let socket: Descriptor
    private let address: String
    private let bell: WakeUp
    private let state = Mutex(State())

    private struct State {
        var notifications = Notifications()
        var hasThread = false, isSending = false
    }

    /// Call this before the sandbox is in force, which permits no connection. Calls `connect(2)`.
    /// - Parameter address: a path, or `@` and an abstract name.
    init(to address: String) throws(Failure) {
        guard !address.hasNUL else { throw Failure("connect", code: EINVAL, on: address) }
        // Safety: the call reads a C string.
        socket = try Descriptor.opened(unsafe ck_notify_socket(address), by: "socket")
        bell = try WakeUp()
        self.address = address
    }

    /// Starts the thread. From now on messages wait for room.
    func beginThread(confinedBy confine: @escaping @Sendable () throws(Failure) -> Void) throws(Failure) {
        try startThread(preparedBy: confine) { [self] in
            while true {
                // The only possible error is a want of memory, after which it comes back here.
                try? bell.takeOne()
                while let text = next() {
                    while send(text, waits: true)?.isShortage == true {
                        _ = try? pause(until: Instant.now.after(.milliseconds(10)))
                    }
                    state.withLock { $0.isSending = false }
                }
            }
        }
        state.withLock { $0.hasThread = true }
    }

    private func next() -> String? {
        state.withLock { state in
            let text = state.notifications.next()
            state.isSending = text != nil
            return text
        }
    }

    func tell(_ kind: Notifications.Kind, _ text: String) {
        let hasThread = state.withLock { state in
            if state.hasThread { state.notifications.add(kind, text) }
            return state.hasThread
        }
        if hasThread { bell.signal() } else { _ = send(text, waits: false) }
    }

    func finish(until deadline: Instant) {
        while Instant.now < deadline, state.withLock({ $0.isSending || !$0.notifications.isEmpty }) {
            _ = try? pause(until: Instant.now.after(.milliseconds(1)))
        }
    }

    /// Returns why it failed, or nil. Calls `send(2)` and `poll(2)`, or `sendto(2)`.
    /// - Parameter waits: whether to wait until there is room, however long that takes.
    private func send(_ text: String, waits: Bool) -> Failure? {
        let bytes = Array(text.utf8)
        let number = socket.number
        // Safety: the call reads a C string and as many bytes as the array holds.
        let result = unsafe bytes.withUnsafeBytes {
            unsafe ck_notify(number, address, $0.baseAddress, $0.count, waits ? 1 : 0)
        }
        return result < 0 ? Failure("sendto", code: -result) : nil
    }
}
