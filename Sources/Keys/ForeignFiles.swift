// Opens and holds key files on file systems that another program or computer serves, in threads that may hang.
//
// Must never touch such a file, or close one, in the thread of its caller. Must never let one file system delay another,
// as long as there are threads.

internal import Kernel
internal import Synchronization
internal import Wire

final class ForeignFiles: Sendable {
    /// An answer, and the descriptors that go with it.
    struct Outcome: Sendable {
        let packet: OpenerPacket
        let descriptors: OpenFiles?
    }

    private struct State {
        var outcomes: [Outcome] = []
        /// What is open for clients, and the lane in which it is closed.
        var held: [UInt64: (lane: UInt64, files: OpenFiles)] = [:]
    }

    private let owners: TrustedOwners
    private let lanes: Lanes
    private let state = Mutex(State())
    /// Rings when there is an outcome.
    private let bell: WakeUp

    /// Makes the threads. Call this when Landlock is in force and seccomp is not: they confine their calls themselves.
    init(_ owners: TrustedOwners) throws(Failure) {
        self.owners = owners
        bell = try WakeUp()
        lanes = try Lanes(threads: Limits.openingThreads) { try? Sandbox.restrictCallsOfThreadToOpening() }
    }

    func register(with poller: Poller, as token: UInt64) throws(Failure) { try bell.register(with: poller, as: token) }

    /// Opens the files of a question. The answer is an outcome later.
    func open(_ number: UInt64, _ question: OpenerQuestion) {
        lanes.add(in: question.lane) { [self] in
            let outcome: Outcome
            do throws(TrustError) {
                let pair = try question.opened(owners, watchedBy: nil)
                if question.form == .held {
                    state.withLock { $0.held[number] = (question.lane, pair.files) }
                    outcome = Outcome(packet: .opened(number, pair.facts), descriptors: nil)
                } else {
                    defer { pair.files.close() }
                    outcome = Outcome(packet: .opened(number, pair.facts), descriptors: try pair.copied())
                }
            } catch { outcome = Outcome(packet: .failed(number, error), descriptors: nil) }
            state.withLock { $0.outcomes.append(outcome) }
            bell.signal()
        }
    }

    /// What the threads have done since the last call.
    func outcomes() -> [Outcome] {
        bell.silence()
        return state.withLock { state in
            defer { state.outcomes = [] }
            return state.outcomes
        }
    }

    /// Sends a packet with what is held, and holds it no longer.
    func send(_ number: UInt64, _ packet: [UInt8], on client: borrowing SeqpacketSocket) throws(Failure) {
        guard let held = state.withLock({ $0.held[number] }) else { throw Failure("sendmsg", code: Failure.badData) }
        try held.files.send(packet, on: client)
        drop(number)
    }

    /// Closes what is held.
    func drop(_ number: UInt64) {
        guard let held = state.withLock({ $0.held.removeValue(forKey: number) }) else { return }
        lanes.add(in: held.lane) { held.files.close() }
    }
}

/// The open files of a question, and what was checked of them.
struct OpenedPair {
    let facts: [FileFacts]
    let files: OpenFiles

    /// Copies of the files in memory.
    func copied() throws(TrustError) -> OpenFiles {
        for file in facts where file.status.size > Limits.credentialBytes {
            throw TrustError(
                .oversized,
                "\(file.path) has \(file.status.size) bytes, and is not copied: at most \(Limits.credentialBytes) are")
        }
        let key = try Self.copy(files.takeFirst(), facts[0])
        guard facts.count > 1 else { return OpenFiles(key, nil) }
        return OpenFiles(key, try Self.copy(files.takeSecond(), facts[1]))
    }

    private static func copy(_ file: consuming Descriptor?, _ facts: FileFacts) throws(TrustError) -> Descriptor {
        guard let file else { throw TrustError(.late, "\(facts.path) is not opened yet") }
        do throws(Failure) { return try file.copiedInMemory(size: facts.status.size) } catch {
            guard error.code == Failure.notPermitted else { throw TrustError(unreadable: facts.path, error) }
            throw TrustError(
                .unreadable,
                "\(facts.path) is served by another program or computer, and cannot be copied into memory: permit "
                    + "memfd_create(2) to keybrokerd.service (SystemCallFilter=memfd_create), or move the file")
        }
    }
}

extension OpenerQuestion {
    /// Opens the files. If there are two, they are of one moment.
    func opened(_ owners: TrustedOwners, watchedBy watch: ChangeWatch?) throws(TrustError) -> OpenedPair {
        func open(_ index: Int) throws(TrustError) -> TrustedFile {
            try owners.place(of: paths[index], watchedBy: watch, follows: watch != nil).open()
        }
        var key = try open(0)
        guard paths.count > 1 else {
            let facts = key.facts
            return OpenedPair(facts: [facts], files: OpenFiles(key.intoDescriptor(), nil))
        }
        for _ in 0..<Limits.pairAttempts {
            let certificate = try open(1)
            let again = try open(0)
            guard ContentMark(again.status) == ContentMark(key.status) else {
                key = again
                continue
            }
            let facts = [again.facts, certificate.facts]
            return OpenedPair(facts: facts, files: OpenFiles(again.intoDescriptor(), certificate.intoDescriptor()))
        }
        throw TrustError(changing: paths)
    }
}
