// One client: handshake, requests, responses, goodbye, each within its time.
//
// Must never hold more of a client's input than one request head may have, nor wait for it without an end.

internal import Kernel
internal import TLS

/// A client's connection, as a state that is moved on whenever its socket is ready.
final class Visitor {
    let number: UInt64
    private(set) var stream: TLSStream
    private let facts: Facts
    private let idleMilliseconds: Int
    private var state = State.handshake
    private var input: [UInt8] = []
    private var output: ArraySlice<UInt8> = []
    private var staysOpen = true
    /// When what the client has to do now must be done. It does not move with every byte.
    private(set) var deadline: Instant
    /// What the poller waits for.
    var interest = Poller.Interest.reading

    private enum State { case handshake, request, response, goodbye }

    /// What to do with it next.
    enum Next: Equatable {
        case waitToRead, waitToWrite, end
    }

    init(number: UInt64, stream: consuming TLSStream, facts: Facts, idleSeconds: Int) {
        self.number = number
        self.stream = stream
        self.facts = facts
        idleMilliseconds = idleSeconds * 1000
        deadline = Instant.now.after(milliseconds: idleMilliseconds)
    }

    /// Nothing of a request has come that is not answered.
    var isIdle: Bool {
        switch state {
        case .handshake, .goodbye: true
        case .request: input.isEmpty
        case .response: false
        }
    }

    /// Answers what is in hand, and then no more.
    func endSoon() { staysOpen = false }

    /// Tells the client that nothing more will come.
    func sayGoodbye() { stream.sayGoodbye() }

    /// Goes on as far as it can without waiting.
    func proceed() -> Next {
        while true {
            let step: TLSStep
            switch state {
            case .handshake:
                step = stream.handshake()
                if case .done = step { enter(.request) }
            case .request:
                if answer() { continue }
                var chunk = [UInt8](repeating: 0, count: 4096)
                step = stream.read(into: &chunk)
                if case .done(let count) = step { input.append(contentsOf: chunk[..<count]) }
            case .response:
                step = stream.write(output)
                if case .done(let count) = step {
                    output = output.dropFirst(count)
                    if output.isEmpty { enter(staysOpen ? .request : .goodbye) }
                }
            case .goodbye:
                stream.sayGoodbye()
                return .end
            }
            switch step {
            case .done: continue
            case .wantsRead: return .waitToRead
            case .wantsWrite: return .waitToWrite
            case .closed: return .end
            }
        }
    }

    private func enter(_ next: State) {
        state = next
        deadline = Instant.now.after(milliseconds: idleMilliseconds)
    }

    /// Turns a whole request into a response. False where there is none yet.
    private func answer() -> Bool {
        switch HTTPRequest.parse(input[...]) {
        case .incomplete: return false
        case .complete(let request, let length):
            input.removeFirst(length)
            staysOpen = staysOpen && request.keepsAlive
            output = HTTPResponse.to(request, facts, cipher: stream.cipher, keepsAlive: staysOpen).bytes[...]
        case .faulty(let status):
            input = []
            staysOpen = false
            output = HTTPResponse.to(faulty: status).bytes[...]
        }
        enter(.response)
        return true
    }
}
