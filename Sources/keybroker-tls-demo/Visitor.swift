// One client: handshake, requests, responses and closing, each with a time limit.
//
// Must never hold more of a client's input than one request head and one read. Must never wait for a client without a
// limit.

internal import Kernel
internal import TLS

/// A client's connection. Its state moves on whenever its socket is ready.
final class Visitor {
    let number: UInt64
    private(set) var stream: TLSStream
    private let facts: Facts
    private let idle: Duration
    private var state = State.handshake
    private var input: [UInt8] = []
    private var output: ArraySlice<UInt8> = []
    private var staysOpen = true
    /// When the client must have finished its current step. New bytes do not extend it.
    private(set) var deadline: Instant
    /// The event for which the poller waits.
    var interest = Poller.Interest.reading

    private enum State {
        case handshake, request, response, goodbye
        /// Everything is sent. The client gets time to read it.
        case lingering
    }

    /// What the loop has to do next.
    enum Next: Equatable {
        case waitToRead, waitToWrite, end
        /// There is more to do at once, but other clients get their turn first.
        case goOn
    }

    /// How many steps one client may take in one turn.
    private static let stepsInTurn = 32
    /// How many bytes are read at a time.
    private static let chunkBytes = 4096
    /// How long a client may take at most to close after everything was sent.
    private static let linger = Duration.seconds(2)

    init(number: UInt64, stream: consuming TLSStream, facts: Facts, idle: Duration) {
        self.number = number
        self.stream = stream
        self.facts = facts
        self.idle = idle
        deadline = Instant.now.after(idle)
    }

    /// True if no unanswered part of a request has arrived.
    var isIdle: Bool {
        switch state {
        case .handshake: true
        case .request: input.isEmpty
        // If the connection were closed before the client has read everything, it would be reset.
        case .response, .goodbye, .lingering: false
        }
    }

    /// Answers the current request, and ends the connection after it.
    func endSoon() { staysOpen = false }

    /// Sends close_notify to a client that waits for nothing, if that is possible without waiting.
    func sayGoodbye() {
        // In the middle of a handshake or a record it cannot be sent.
        if state == .request { _ = stream.sayGoodbye() }
    }

    /// Continues as far as possible without waiting, for at most one turn.
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
            if case .done = step {
                facts.noteHandshake()
                enter(.request)
            }
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
            // The time limit of a request begins with its first byte. Further bytes do not extend it.
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

    /// Turns a complete request into a response. Returns false if there is none yet.
    private func answer() -> Bool {
        switch HTTPRequest.parse(input[...]) {
        case .incomplete: return false
        case .complete(let request, let length):
            input.removeFirst(length)
            staysOpen = staysOpen && request.keepsAlive
            output =
                HTTPResponse.to(
                    request, keepsAlive: staysOpen, isLent: facts.isLent, facts.rows(cipher: stream.cipher)
                ).bytes[...]
        case .faulty(let status):
            input = []
            staysOpen = false
            output = HTTPResponse.to(faulty: status).bytes[...]
        }
        enter(.response)
        return true
    }
}
