// Opens key files that the daemon's own sandbox does not permit, in a separate process.
//
// Landlock identifies the permitted directories when the daemon starts, and nothing can be added later. A directory that
// was exchanged, or that a reload adds, is out of the daemon's reach. This process has no such limit. It talks to no
// client, and opens only what the policy on disk names. So a daemon that was taken over gets nothing from it that it could
// not hand out anyway. Must never open a path only because the daemon asks for it.

package import Kernel
package import PolicyLoading
internal import Synchronization
internal import Wire

/// The daemon's side of a child process that opens key files.
package final class OpenerProcess: Sendable {
    private let socket: SeqpacketSocket
    private let state = Mutex(State())

    private struct State {
        var lastNumber: UInt64 = 0
        /// The question whose answer did not come in time. Until it comes, nothing else is asked, as each question would
        /// have to wait as long.
        var late: UInt64?
        var hasChanges = false
        /// How often the policy was to be read, and how often it was not read yet.
        var readingsLeft = 0
        var hasEnded = false
    }

    /// Makes the child. Call this while the process has only one thread. Calls `fork(2)`.
    package init(_ files: PolicyFiles, owners: TrustedOwners) throws(Failure) {
        socket = try ChildProcess.make { OpenerService.run(files, owners) }
    }

    /// Has the poller report that a file may have changed.
    package func register(with poller: Poller, as token: UInt64) throws(Failure) {
        try poller.watch(socket.descriptor, for: .reading, as: token)
    }

    /// Stops that. If the process has ended, the poller would report it for ever.
    package func unregister(from poller: Poller) throws(Failure) { try poller.forget(socket.descriptor) }

    package var isRunning: Bool { state.withLock { !$0.hasEnded } }

    /// Has the process read the policy from its files. Call this before a policy comes into force. Does not wait.
    package func adoptPolicy() {
        state.withLock { state in
            do throws(Failure) {
                try socket.send(OpenerPacket.policy)
                state.readingsLeft += 1
            } catch { state.hasEnded = true }
        }
    }

    /// Whether it has read the policy, or never will. Known after ``noteChanges()``.
    package var hasAdoptedPolicy: Bool { state.withLock { $0.readingsLeft == 0 || $0.hasEnded } }

    /// Whether a file that was opened may have changed since the last call. Does not wait.
    package func noteChanges() -> Bool {
        state.withLock { state in
            while !state.hasEnded {
                guard let delivery = receive(&state) else { break }
                note(delivery.packet, &state)
            }
            defer { state.hasChanges = false }
            return state.hasChanges
        }
    }

    /// Opens the file of a key or a certificate.
    /// - Parameter path: as the policy names it.
    package func open(_ path: String, owners: TrustedOwners) throws(TrustError) -> TrustedFile {
        let delivery = state.withLock { state in answer(to: path, &state) }
        guard var delivery else {
            guard isRunning else { throw TrustError(outside: path) }
            throw TrustError(
                .unreadable, "\(path) was not opened in time by the process that opens it; it is tried again")
        }
        guard let answer = OpenerPacket(delivery.packet) else { throw TrustError(outside: path) }
        switch delivery.first.take() {
        case .some(let descriptor): return try owners.received(descriptor, from: answer.text)
        case .none: throw answer.kind.map { TrustError($0, answer.text) } ?? TrustError(outside: path)
        }
    }

    /// Nil if there is no answer in time.
    private func answer(to path: String, _ state: inout State) -> SeqpacketSocket.Delivery? {
        while state.late != nil, let delivery = receive(&state) { note(delivery.packet, &state) }
        guard state.late == nil, !state.hasEnded else { return nil }
        state.lastNumber += 1
        let number = state.lastNumber
        let deadline = Instant.now.after(Limits.opening)
        do throws(Failure) {
            try socket.send(OpenerPacket(number: number, text: path).bytes)
            while try waitUntilReadable(socket.descriptor, until: deadline) == .ready {
                guard let delivery = receive(&state) else { break }
                if OpenerPacket(delivery.packet)?.number == number { return delivery }
                note(delivery.packet, &state)
            }
            if !state.hasEnded { state.late = number }
        } catch { state.hasEnded = true }
        return nil
    }

    /// Nil if there is nothing to receive. Notes if the process has ended.
    private func receive(_ state: inout State) -> SeqpacketSocket.Delivery? {
        let delivery: SeqpacketSocket.Delivery?
        do throws(Failure) { delivery = try socket.receiveDelivery(limit: OpenerPacket.longest) } catch {
            state.hasEnded = true
            return nil
        }
        guard let delivery else { return nil }
        if delivery.packet.isEmpty {
            state.hasEnded = true
            return nil
        }
        return delivery
    }

    /// A packet that is no answer to the last question: something may have changed, or the answer came too late.
    private func note(_ packet: [UInt8], _ state: inout State) {
        if packet == OpenerPacket.changed { state.hasChanges = true }
        if packet == OpenerPacket.policyRead { state.readingsLeft -= 1 }
        if let late = state.late, OpenerPacket(packet)?.number == late { state.late = nil }
    }
}
