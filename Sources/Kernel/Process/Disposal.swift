// A process that ends with what callers sent, so that the kernel closes it there.
//
// Closing the last reference to something can take as long as its owner wants, and not all of it can be interrupted. Nobody
// waits for this process, and it holds nothing else. At the end of a process, sockets do not linger. Must never close anything
// before it ends, and never use what it is sent.

/// The daemon's side of such a process, and of the next one. For one thread.
package struct Disposal: ~Copyable {
    /// Makes a process, and returns the end of a socket to it. Nil if there can be none now.
    private let make: @Sendable () -> SeqpacketSocket?
    private var current: SeqpacketSocket?
    private(set) var end = Instant.never

    /// How long a process is sent more. Until then, too, peers can read what they were sent last.
    private static let life = Duration.milliseconds(200)
    /// How long a process may take to receive.
    private static let patience = Duration.seconds(1)

    init(_ make: @escaping @Sendable () -> SeqpacketSocket?) { self.make = make }

    /// Sends the descriptor to the process. Returns false if there is none.
    mutating func take(_ descriptor: borrowing Descriptor) -> Bool {
        // If there can be no other one now, it takes more.
        if end <= .now, !begin() { end = Instant.now.after(Self.life) }
        if send(descriptor) { return true }
        return begin() && send(descriptor)
    }

    /// Ends the process whose time is over.
    mutating func endIfOld() {
        guard end <= .now else { return }
        current = nil
        end = .never
    }

    /// Makes a process in place of the present one, if there can be one.
    private mutating func begin() -> Bool {
        switch make() {
        case .some(let socket): current = consume socket
        case .none: return false
        }
        end = Instant.now.after(Self.life)
        return true
    }

    private borrowing func send(_ descriptor: borrowing Descriptor) -> Bool {
        let deadline = Instant.now.after(Self.patience)
        while Instant.now < deadline {
            switch current {
            case .some(let socket):
                do throws(Failure) {
                    try socket.send([0], withCopyOf: descriptor)
                    return true
                } catch { guard error.code == Failure.wouldBlock else { return false } }
            case .none: return false
            }
            _ = try? pause(until: Instant.now.after(.milliseconds(1)))
        }
        return false
    }
}

extension Disposal {
    /// In the child: keeps what it is sent until the daemon closes its end, and then ends.
    package static func serve() -> Never {
        ChildProcess.setName("keybrokerd-drop")
        let socket = ChildProcess.takeEnd()
        while true {
            do throws(Failure) {
                _ = try waitUntilReadable(socket.descriptor, until: .never)
                guard var delivery = try socket.receiveDelivery(limit: 1) else { continue }
                if delivery.packet.isEmpty { ChildProcess.end(0) }
                // Its number is forgotten, so that nothing but the end closes it.
                switch delivery.first.take() {
                case .some(let descriptor): _ = descriptor.release()
                case .none: break
                }
            } catch { ChildProcess.end(1) }
        }
    }
}
