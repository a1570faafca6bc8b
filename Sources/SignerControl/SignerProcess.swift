// The daemon's side of keybroker-signer, the program that signs.
//
// Must never wait for the signer, and never take what it says for anything but what it was asked to do: it reads packets of
// clients, so a client could take it over.

package import Kernel
internal import Wire

/// The daemon's end of the pair that it has with the signer.
package final class SignerProcess {
    private let socket: SeqpacketSocket
    /// The pid of the program. The signer is its child.
    package let processID: Int32
    /// The generation of the signer that serves; nil before the first one is ready.
    private var generation: UInt64?
    private var hasEnded = false
    /// Channels whose end could not be told yet, because the signer has more to do than it can take.
    private var untold: [UInt64] = []
    /// Whether `next` has to be called soon, though the signer may say nothing.
    package var hasUntold: Bool { !untold.isEmpty && !hasEnded }
    private var buffer = [UInt8](repeating: 0, count: SignerReport.longest)

    /// Starts the program, which starts a signer and replaces it if it ends by a fault. Call this while the process has
    /// only one thread, and may still execute programs. Calls `fork(2)` and `execve(2)`.
    /// - Parameters:
    ///   - program: an absolute path.
    ///   - account: which account it becomes. Nil if the daemon is not root's: it keeps the daemon's.
    package init(_ program: String, becoming account: (uid: UInt32, gid: UInt32)?) throws(Failure) {
        var pid: Int32 = 0
        socket = try ChildProcess.make(
            executing: program, account.map { String($0.uid) }, account.map { String($0.gid) }, pid: &pid)
        processID = pid
    }

    /// Has the poller report that the signer has said something, or has ended.
    package func register(with poller: Poller, as token: UInt64) throws(Failure) {
        try poller.watch(socket.descriptor, for: .reading, as: token)
    }

    /// Stops that. If the program has ended, the poller would report it for ever.
    package func unregister(from poller: Poller) throws(Failure) { try poller.forget(socket.descriptor) }

    /// False if the program has ended: there will be no signer any more.
    package var isRunning: Bool { !hasEnded }
    /// Whether a signer is there now.
    package var isReady: Bool { generation != nil && !hasEnded }

    /// Asks for a channel. `opened` or `unusable` answers; not in the order of the questions, as accounts take turns. Returns
    /// false if there is no signer now, or it has more to do than it can take. Both descriptors are closed here in any case.
    /// - Parameters:
    ///   - channel: its number must be new.
    ///   - key: the file of the key. It is read from its beginning.
    ///   - end: one end of a pair; the client gets the other one.
    package func open(
        _ channel: NewChannel, key: consuming Descriptor, end: consuming SeqpacketSocket
    ) -> Bool {
        guard let generation, !hasEnded else { return false }
        let file: Descriptor? = key
        let end: Descriptor? = end.intoDescriptor()
        do throws(Failure) {
            try socket.send(SignerOrder.open(channel, generation: generation).bytes, with: file, and: end)
            return true
        } catch {
            note(error)
            return false
        }
    }

    /// Ends a channel. `ended` answers, unless it was said already. If the signer cannot be told now, it is told later.
    package func end(_ channel: UInt64) {
        untold.append(channel)
        tellEnds()
    }

    private func tellEnds() {
        while let generation, let channel = untold.first, !hasEnded {
            do throws(Failure) {
                try socket.send(SignerOrder.end(channel: channel, generation: generation).bytes)
                untold.removeFirst()
            } catch { return note(error) }
        }
    }

    private func note(_ failure: Failure) {
        if failure.code != Failure.wouldBlock, !failure.isShortage { hasEnded = true }
    }

    /// What the signer says next, or nil if there is nothing now. Does not wait. After `started`, all channels of an
    /// earlier signer have ended.
    package func next() -> SignerReport? {
        tellEnds()
        while !hasEnded {
            let received: SeqpacketSocket.Received
            do throws(Failure) { received = try socket.receive(into: &buffer) } catch {
                hasEnded = true
                return nil
            }
            switch consume received {
            case .wouldBlock: return nil
            case .nothing: hasEnded = true
            case .packet(let length, _, _):
                guard let report = SignerReport(buffer[..<min(length, buffer.count)]) else { continue }
                if case .started(let number) = report { (generation, untold) = (number, []) }
                tellEnds()
                return report
            }
        }
        return nil
    }
}
