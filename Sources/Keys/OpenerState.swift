// What was asked of the process that opens keys, and which answers wait for somebody who asks again.
//
// Must never give one answer to two callers: they would share a file offset. Must never keep an answer for long.

internal import Kernel
internal import Wire

struct OpenerState {
    /// An answer.
    struct Arrived {
        let number: UInt64
        let files: Result<[FileFacts], TrustError>
        let descriptors: OpenFiles
        let at: Instant
        var isHeld: Bool
    }

    var lastNumber: UInt64 = 0
    /// The questions without an answer.
    var asked: [UInt64: (question: OpenerQuestion, at: Instant)] = [:]
    /// The answers that nobody has taken.
    private var arrived: [OpenerQuestion: [Arrived]] = [:]
    /// The results of sending.
    var sent: [UInt64: Int32] = [:]
    /// What the process holds and nobody wants.
    var owed: [UInt64] = []
    /// Since and until when each lane counts as slow.
    private var slow: [UInt64: (since: Instant, until: Instant)] = [:]
    var hasChanges = false
    /// How often the policy was to be read, and was not read yet; and how often of these the process was not told yet.
    var readingsLeft = 0, readingsOwed = 0
    var hasEnded = false

    // MARK: Questions

    func questions(in lane: UInt64) -> Int { asked.values.count { $0.question.lane == lane } }

    func oldestQuestion(in lane: UInt64) -> Instant? {
        asked.values.filter { $0.question.lane == lane }.map(\.at).min()
    }

    /// Whether the loop may wait a moment for an answer: not while an earlier one is late, nor soon after one was.
    func mayWait(in lane: UInt64, _ now: Instant) -> Bool {
        questions(in: lane) == 0 && slow[lane].map { $0.until <= now } != false
    }

    mutating func noteSlow(_ lane: UInt64, _ now: Instant) { slow[lane] = (now, now.after(Limits.slowFileSystem)) }

    // MARK: Answers

    /// Takes an answer to the question. Nil if there is none.
    mutating func take(_ question: OpenerQuestion) -> Arrived? {
        guard let first = arrived[question]?.first else { return nil }
        arrived[question]?.removeFirst()
        if arrived[question]?.isEmpty == true { arrived[question] = nil }
        return first
    }

    /// When the oldest answer has waited too long, or nil if there is none.
    var nextForgetting: Instant? { arrived.values.compactMap { $0.first?.at }.min()?.after(Limits.openedKept) }

    /// Forgets the answers that have waited too long, and returns the numbers of those that are held.
    mutating func forget(olderThan now: Instant) -> [UInt64] {
        var gone: [UInt64] = []
        for (question, answers) in arrived {
            let kept = answers.filter { $0.at.after(Limits.openedKept) > now }
            guard kept.count < answers.count else { continue }
            gone += answers.prefix(answers.count - kept.count).filter(\.isHeld).map(\.number)
            arrived[question] = kept.isEmpty ? nil : kept
        }
        slow = slow.filter { $0.value.until > now }
        return gone
    }

    /// Forgets all answers.
    mutating func forgetAll() -> [[UInt64]] {
        defer { arrived = [:] }
        return arrived.values.map { $0.filter(\.isHeld).map(\.number) }
    }

    /// Notes that the process could not be reached. What passes by itself does not mean that it has ended.
    mutating func note(_ failure: Failure) {
        if failure.code != Failure.wouldBlock, !failure.isShortage { hasEnded = true }
    }

    /// Notes a packet of the process.
    /// - Parameter descriptors: nil if one of them did not arrive, because this process may have no more.
    mutating func note(_ packet: [UInt8], _ descriptors: OpenFiles?, _ now: Instant) {
        if packet == OpenerPacket.changed { return hasChanges = true }
        if packet == OpenerPacket.policyRead { return readingsLeft -= 1 }
        switch OpenerPacket(packet) {
        case .opened(let number, let files):
            guard let descriptors else {
                let shortage = TrustError(
                    .shortage, "\(files[0].path): it was opened, but the daemon may have no more descriptors")
                return note(number, .failure(shortage), OpenFiles(nil, nil), now)
            }
            note(number, .success(files), descriptors, now)
        case .failed(let number, let error): note(number, .failure(error), OpenFiles(nil, nil), now)
        case .sent(let number, let code): sent[number] = code
        case .open, .send, .drop, nil: return
        }
    }

    private mutating func note(
        _ number: UInt64, _ files: Result<[FileFacts], TrustError>, _ descriptors: OpenFiles, _ now: Instant
    ) {
        guard let (question, since) = asked.removeValue(forKey: number) else { return }
        // It is fast again. Even so, the loop waits for it in vain at most once a second.
        if now < since.after(Limits.openingWait), let known = slow[question.lane] {
            slow[question.lane]?.until = min(known.until, known.since.after(Limits.fastAgain))
        }
        var isHeld = false
        if case .success = files { isHeld = question.form == .held }
        arrived[question, default: []].append(
            Arrived(number: number, files: files, descriptors: descriptors, at: now, isHeld: isHeld))
    }
}
