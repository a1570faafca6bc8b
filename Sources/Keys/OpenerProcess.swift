// Opens key files that the daemon's own process must not open, in a separate process.
//
// There are two kinds. Landlock identifies the permitted directories when the daemon starts, and nothing can be added
// later: a directory that was exchanged, or that a reload adds, is out of the daemon's reach. And a file system that
// another program or computer serves may hang (Kernel/TrustedFiles/LocalMounts.swift): there the process also holds the
// open files, and sends them to the client itself, as even close(2) can hang. It talks to no client of its own accord, and
// opens only what the policy on disk names. So a daemon that was taken over gets nothing from it that it could not hand
// out anyway. Must never open a path only because the daemon asks for it. Must never let the loop wait for a file system.

package import Kernel
package import PolicyLoading
internal import Synchronization
internal import Wire

/// The daemon's side of a child process that opens key files.
package final class OpenerProcess: Sendable {
    private let socket: SeqpacketSocket
    private let mounts: LocalMounts?
    private let state = Mutex(OpenerState())

    /// Makes the child. Call this while the process has only one thread. Calls `fork(2)`.
    /// - Parameter mounts: what tells the daemon which keys it must not open itself.
    package init(_ files: PolicyFiles, owners: TrustedOwners, mounts: LocalMounts? = nil) throws(Failure) {
        self.mounts = mounts
        socket = try ChildProcess.make { OpenerService.run(files, owners) }
    }

    /// Has the poller report that a file or a mount may have changed.
    package func register(with poller: Poller, as token: UInt64) throws(Failure) {
        try poller.watch(socket.descriptor, for: .reading, as: token)
        try mounts?.register(with: poller, as: token)
    }

    /// Stops that for files. If the process has ended, the poller would report it for ever.
    package func unregister(from poller: Poller) throws(Failure) { try poller.forget(socket.descriptor) }

    package var isRunning: Bool { state.withLock { !$0.hasEnded } }

    /// Whether the kernel can tell for certain which process is at the other end of a socket.
    package var knowsProcesses: Bool { (try? socket.peerIsRunning()) ?? nil != nil }

    /// Has the process read the policy from its files. Call this before a policy comes into force. Does not wait.
    package func adoptPolicy() {
        state.withLock { state in
            state.readingsLeft += 1
            state.readingsOwed += 1
            payOwed(&state)
        }
    }

    /// Whether it has read the policy, or never will. Known after ``noteChanges()``.
    package var hasAdoptedPolicy: Bool { state.withLock { $0.readingsLeft == 0 || $0.hasEnded } }

    /// Forgets the answers that nobody has taken yet. Call this when a policy comes into force.
    func forgetAnswers() {
        state.withLock { state in
            for arrived in state.forgetAll() { state.owed += arrived }
            payOwed(&state)
        }
    }

    /// Whether a file that was opened may have changed since the last call. Does not wait.
    package func noteChanges() -> Bool {
        state.withLock { state in
            receiveAll(&state)
            payOwed(&state)
            defer { state.hasChanges = false }
            return state.hasChanges
        }
    }

    /// When ``forgetOld(_:)`` next has something to do, or nil if it has nothing.
    package var nextForgetting: Instant? { state.withLock { $0.nextForgetting } }

    /// Has the process close what it opened and nobody has asked for again.
    package func forgetOld(_ now: Instant) {
        state.withLock { state in
            state.owed += state.forget(olderThan: now)
            payOwed(&state)
        }
    }

    /// Opens the files of a key.
    func handOut(_ question: OpenerQuestion, owners: TrustedOwners) throws(TrustError) -> HandOut {
        let arrived = try state.withLock { state throws(TrustError) in try answer(to: question, &state) }
        let files = try arrived.files.get()
        // If anything fails from here on, it is not held any longer.
        let held = arrived.isHeld ? HeldFiles(arrived.number, in: self) : nil
        for file in files { try owners.check(file) }
        guard files.count == question.paths.count else { throw TrustError(outside: question.paths[0]) }
        let (key, certificate) = (files[0], files.count > 1 ? files[1] : nil)
        if let held { return HandOut(held: held, key: key, certificate: certificate) }
        let descriptor = arrived.descriptors.takeFirst()
        let second = arrived.descriptors.takeSecond()
        guard let descriptor else { throw TrustError(outside: key.path) }
        if question.form == .copied {
            return HandOut(copyOf: key, descriptor, certificate: certificate, second)
        }
        let opened = try owners.received(descriptor, from: key.path)
        guard let certificate else { return HandOut(key: opened, certificate: nil) }
        guard let second else { throw TrustError(outside: certificate.path) }
        return HandOut(key: opened, certificate: try owners.received(second, from: certificate.path))
    }

    /// Has the process close what it holds.
    func drop(_ number: UInt64) {
        state.withLock { state in
            state.owed.append(number)
            payOwed(&state)
        }
    }

    /// Has the process send a packet with what it holds, and waits until it has. It never takes longer than that: no file
    /// system is asked.
    func send(_ number: UInt64, _ packet: [UInt8], on client: borrowing SeqpacketSocket) throws(Failure) {
        // After the deadline the process sends nothing, and this waits a little longer to be sure of that.
        let deadline = Instant.now.after(Limits.opening)
        let order = OpenerPacket.send(number, until: deadline, packet: packet).bytes
        let code = try state.withLock { state throws(Failure) in
            state.sent = [:]
            try socket.send(order, withCopyOf: client)
            while state.sent[number] == nil, !state.hasEnded,
                try waitUntilReadable(socket.descriptor, until: deadline.after(Limits.opening)) == .ready
            {
                receiveAll(&state)
            }
            return state.sent.removeValue(forKey: number)
        }
        guard let code else { throw Failure("sendmsg", code: Failure.timedOut) }
        guard code == 0 else { throw Failure("sendmsg", code: code) }
    }

    // MARK: Questions and answers

    private func answer(
        to question: OpenerQuestion, _ state: inout OpenerState
    ) throws(TrustError) -> OpenerState.Arrived {
        receiveAll(&state)
        let now = Instant.now
        // An answer that is too old must not be taken.
        state.owed += state.forget(olderThan: now)
        payOwed(&state)
        if let arrived = state.take(question) { return arrived }
        try refuseIfEnded(question, state)
        if let oldest = state.oldestQuestion(in: question.lane), oldest.after(Limits.opening) <= now {
            throw TrustError(
                .unreadable,
                "\(question.paths[0]) was not opened in time by the process that opens it; it is tried again")
        }
        guard state.questions(in: question.lane) < Limits.openingQuestions else { throw late(question) }
        let mayWait = question.lane == 0 || state.mayWait(in: question.lane, now)
        state.lastNumber += 1
        let number = state.lastNumber
        do throws(Failure) { try socket.send(OpenerPacket.open(number, question).bytes) } catch {
            // It has too many questions already, or it has ended.
            state.note(error)
            try refuseIfEnded(question, state)
            throw error.isShortage ? TrustError(.shortage, "\(question.paths[0]): \(error)") : late(question)
        }
        state.asked[number] = (question, now)
        guard mayWait else { throw late(question) }
        // Lane 0 is on local file systems, which do not hang.
        let deadline = now.after(question.lane == 0 ? Limits.opening : Limits.openingWait)
        while state.asked[number] != nil, !state.hasEnded,
            (try? waitUntilReadable(socket.descriptor, until: deadline)) == .ready
        {
            receiveAll(&state)
        }
        if let arrived = state.take(question) { return arrived }
        try refuseIfEnded(question, state)
        state.noteSlow(question.lane, now)
        throw late(question)
    }

    private func refuseIfEnded(_ question: OpenerQuestion, _ state: borrowing OpenerState) throws(TrustError) {
        guard state.hasEnded else { return }
        throw question.lane == 0 ? TrustError(outside: question.paths[0]) : TrustError(elsewhere: question.paths[0])
    }

    private func late(_ question: OpenerQuestion) -> TrustError {
        TrustError(.late, "\(question.paths[0]) is not opened yet: its file system has not answered so far")
    }

    /// Tells the process to read the policy, and what it need not hold any more. What it cannot be told now, it is told at
    /// the next opportunity.
    private func payOwed(_ state: inout OpenerState) {
        do throws(Failure) {
            while state.readingsOwed > 0 {
                try socket.send(OpenerPacket.policy)
                state.readingsOwed -= 1
            }
            while let number = state.owed.last {
                try socket.send(OpenerPacket.drop(number).bytes)
                state.owed.removeLast()
            }
        } catch { state.note(error) }
    }

    private func receiveAll(_ state: inout OpenerState) {
        while !state.hasEnded {
            do throws(Failure) {
                guard var delivery = try socket.receiveDelivery(limit: OpenerPacket.longest) else { return }
                let first = delivery.first.take()
                let second = delivery.second.take()
                if delivery.packet.isEmpty { state.hasEnded = true }
                state.note(
                    delivery.packet, delivery.isMissingDescriptors ? nil : OpenFiles(first, second), .now)
            } catch {
                state.note(error)
                return
            }
        }
    }
}
