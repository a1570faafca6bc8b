// One client: handshake, requests, responses, goodbye, each within its time.
//
// Must never hold more of a client's input than one request head and one read may have, nor wait for it
// without an end.

internal import Kernel
internal import TLS

/// A client's connection, as a state that is moved on whenever its socket is ready.
final class Visitor {
    let number: UInt64
    private(set) var stream: TLSStream
    private let facts: Facts
    private let idle: Duration
    private var state = State.handshake
    private var input: [UInt8] = []
    private var output: ArraySlice<UInt8> = []
    private var staysOpen = true
    /// When what the client has to do now must be done. It does not move with every byte.
    private(set) var deadline: Instant
    /// What the poller waits for.
    var interest = Poller.Interest.reading

    private enum State {
        case handshake, request, response, goodbye
        /// All is said; the client may read it in peace.
        case lingering
    }

    /// What to do with it next.
    enum Next: Equatable {
        case waitToRead, waitToWrite, end
        /// There is more to do at once, but others have a turn first.
        case goOn
    }

    /// How many steps one client may have before the others have a turn.
    private static let stepsInTurn = 32
    /// How much is read at a time, in bytes.
    private static let chunkBytes = 4096
    /// How long a client may take to go when all is said, at most.
    private static let linger = Duration.seconds(2)

    init(number: UInt64, stream: consuming TLSStream, facts: Facts, idle: Duration) {
        self.number = number
        self.stream = stream
        self.facts = facts
        self.idle = idle
        deadline = Instant.now.after(idle)
    }

    /// Nothing of a request has come that is not answered.
    var isIdle: Bool {
        switch state {
        case .handshake: true
        case .request: input.isEmpty
        // Closed before the client has read all, the connection would be reset.
        case .response, .goodbye, .lingering: false
        }
    }

    /// Answers what is in hand, and then no more.
    func endSoon() { staysOpen = false }

    /// The last word to a client that is waiting for nothing, as far as it can be said without waiting.
    func sayGoodbye() {
        // In the midst of a handshake or a record there is no way to say it.
        if state == .request { _ = stream.sayGoodbye() }
    }

    /// Goes on as far as it can without waiting, for the length of one turn.
    func proceed() -> Next {
        for _ in 0..<Self.stepsInTurn {
            switch step() {
            case .done: continue
            case .wantsRead: return .waitToRead
            case .wantsWrite: return .waitToWrite
            case .closed: return .end
            }
        }
        return .goOn
    }

    private func step() -> TLSStep {
        let step: TLSStep
        switch state {
        case .handshake:
            step = stream.handshake()
            if case .done = step { enter(.request) }
        case .request:
            if answer() { return .done(0) }
            step = read()
        case .response:
            step = stream.write(output)
            if case .done(let count) = step {
                output = output.dropFirst(count)
                if output.isEmpty { enter(staysOpen ? .request : .goodbye) }
            }
        case .goodbye:
            step = stream.sayGoodbye()
            if case .done = step {
                stream.finishSending()
                enter(.lingering)
            }
        case .lingering:
            step = stream.discardInput() ? .closed : .wantsRead
        }
        return step
    }

    private func read() -> TLSStep {
        var chunk = [UInt8](repeating: 0, count: Self.chunkBytes)
        let step = stream.read(into: &chunk)
        if case .done(let count) = step {
            // A request's time begins with its first byte, and not again with the next ones.
            if input.isEmpty { setDeadline(idle) }
            input.append(contentsOf: chunk[..<count])
        }
        return step
    }

    private func enter(_ next: State) {
        state = next
        let isLeaving = next == .goodbye || next == .lingering
        setDeadline(isLeaving ? min(idle, Self.linger) : idle)
    }

    private func setDeadline(_ duration: Duration) { deadline = Instant.now.after(duration) }

    /// Turns a whole request into a response. False where there is none yet.
    private func answer() -> Bool {
        switch HTTPRequest.parse(input[...]) {
        case .incomplete: return false
        case .complete(let request, let length):
            input.removeFirst(length)
            staysOpen = staysOpen && request.keepsAlive
            output =
                HTTPResponse.to(request, keepsAlive: staysOpen, facts.rows(cipher: stream.cipher)).bytes[...]
        case .faulty(let status):
            input = []
            staysOpen = false
            output = HTTPResponse.to(faulty: status).bytes[...]
        }
        enter(.response)
        return true
    }
}
