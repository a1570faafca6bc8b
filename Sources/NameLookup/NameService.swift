// Looks up names of users and groups in a separate process.
//
// A name service consists of other people's code that is loaded into the process that asks. So that process gets no
// key, no capability and no way to write. The daemon then needs neither /etc nor a network of name servers, and its
// sandbox can deny both. Must never take the answer to one question for the answer to another. Must never wait without
// a limit.

internal import CKernel
internal import Glibc
package import Kernel
internal import Synchronization

/// Where names are looked up.
package enum NameService: Sendable {
    /// In this process.
    case here
    case separate(NameServiceProcess)
    /// Nowhere: each name gets a number of its own. For who reads a policy and does not care who is permitted.
    case invented(NameNumbers)

    /// Whether the numbers of names are those of accounts.
    package var findsAccounts: Bool { if case .invented = self { false } else { true } }

    /// Whether it is the daemon that asks.
    package var isDaemons: Bool { if case .separate = self { true } else { false } }

    /// Names that may have been meant by one that is not found: those of the machine's own files. The daemon guesses
    /// nothing.
    package func similarNames(ofGroups: Bool) -> [String] {
        guard case .here = self else { return [] }
        return Accounts.localNames(in: ofGroups ? "/etc/group" : "/etc/passwd")
    }

    package func user(named name: String) throws(Failure) -> UInt32? {
        switch self {
        case .here: try Accounts.user(named: name)?.uid
        case .separate(let process): try process.ask("u", name)
        case .invented(let numbers): numbers.next()
        }
    }

    package func group(named name: String) throws(Failure) -> UInt32? {
        switch self {
        case .here: try Accounts.gid(ofGroup: name)
        case .separate(let process): try process.ask("g", name)
        case .invented(let numbers): numbers.next()
        }
    }
}

/// Numbers that are no account's on any machine. No number comes twice.
package final class NameNumbers: Sendable {
    private let last = Mutex(UInt32(0xC000_0000))

    package init() {}

    fileprivate func next() -> UInt32 {
        last.withLock {
            $0 += 1
            return $0
        }
    }
}

/// A child process that does nothing but look up names. It ends with its parent. If it ends before, it is made anew.
package final class NameServiceProcess: Sendable {
    private let conversation: Mutex<Conversation>
    private let maker: ChildMaker

    private struct Conversation: ~Copyable {
        var socket: SeqpacketSocket
        var lastNumber: UInt64 = 0
        /// True if an answer did not come in time and may still come.
        var isLate = false
    }

    /// How long an answer may take.
    private let patience: Duration
    private static let hasEnded = "the process that looks up names has ended; restart keybrokerd"
    private static let endedAgain = "the process that looks up names was made anew, and ended again; reload again"
    /// The longest packet, in bytes. It holds a name from the policy, or the reason of a failure.
    private static let longest = 4096

    /// Makes the child, and one that can make it again. Call this while the process has only one thread. Calls `fork(2)`.
    package init(patience: Duration) throws(Failure) {
        self.patience = patience
        conversation = Mutex(Conversation(socket: try ChildProcess.make { Self.begin() }))
        maker = try ChildMaker()
    }

    /// A process that ends with what callers sent, as the end of a socket to it. Nil if there can be none now.
    package func makeDisposal() -> SeqpacketSocket? { maker.make(.disposal) }

    func ask(_ kind: Character, _ name: String) throws(Failure) -> UInt32? {
        let answer = try conversation.withLock { conversation throws(Failure) in
            let question = "\(kind)\(name)"
            do throws(Failure) { return try self.answer(to: question, &conversation) } catch {
                guard error.meansItEnded else { throw error }
                guard let socket = maker.make(.nameService) else {
                    throw Failure("name service", code: error.code, on: name, because: Self.hasEnded)
                }
                conversation = Conversation(socket: socket, lastNumber: conversation.lastNumber)
            }
            do throws(Failure) { return try self.answer(to: question, &conversation) } catch {
                guard error.meansItEnded else { throw error }
                throw Failure("name service", code: error.code, on: name, because: Self.endedAgain)
            }
        }
        guard let answer else { throw Failure("name service", code: ETIMEDOUT, on: name) }
        if answer == "-" { return nil }
        if answer.first == "!" {
            throw Failure("name service", code: Int32(answer.dropFirst()) ?? EIO, on: name)
        }
        guard let id = UInt32(answer) else { throw Failure("name service", code: EPROTO, on: name) }
        return id
    }

    private func answer(to question: String, _ conversation: inout Conversation) throws(Failure) -> String? {
        // While an answer is late, no further question is sent, because each would have to wait as long.
        if conversation.isLate {
            let late = try answer(numbered: conversation.lastNumber, within: .zero, conversation.socket)
            if late == nil { return nil }
        }
        conversation.isLate = false
        conversation.lastNumber += 1
        try conversation.socket.send(Array("\(conversation.lastNumber) \(question)".utf8))
        let answer = try answer(numbered: conversation.lastNumber, within: patience, conversation.socket)
        conversation.isLate = answer == nil
        return answer
    }

    /// Returns the answer, or nil if it did not come in time. Answers to earlier questions are skipped.
    private func answer(
        numbered number: UInt64, within duration: Duration, _ socket: borrowing SeqpacketSocket
    ) throws(Failure) -> String? {
        let deadline = Instant.now.after(duration)
        while true {
            guard try waitUntilReadable(socket.descriptor, until: deadline) == .ready else { return nil }
            let packet = try Self.packet(from: socket)
            guard let packet else { throw Failure("name service", code: EPIPE) }
            let words = packet.split(separator: " ", maxSplits: 1)
            if words.count == 2, UInt64(words[0]) == number { return String(words[1]) }
        }
    }

    /// Nil if the other end was closed.
    private static func packet(from socket: borrowing SeqpacketSocket) throws(Failure) -> String? {
        var buffer = [UInt8](repeating: 0, count: longest)
        guard case .packet(let length, _, _) = try socket.receive(into: &buffer) else { return nil }
        return String(decoding: buffer[..<min(length, longest)], as: UTF8.self)
    }

    // MARK: In the child

    /// The argument with which the program runs as this child and does nothing else.
    private static let argument: StaticString = "--name-service"

    /// Runs what the arguments of the program ask for, if that is one of these children.
    package static func serve(ifAskedBy arguments: [String]) {
        if arguments == [argument.description] { serve() }
        if arguments == [ChildMaker.argument.description] { ChildMaker.serve() }
    }

    /// The system call filter of a service manager may forbid giving up a capability. The program then executes itself
    /// once more: that removes the capability, because none is ambient, and none is inheritable with one of the file's
    /// own.
    static func executeAgainIfNotHarmless(_ argument: StaticString) {
        if Privileges.giveUpCapabilities() { return }
        // Safety: a static string ends with NUL and lives for ever.
        _ = unsafe ck_execute_again(UnsafeRawPointer(argument.utf8Start).assumingMemoryBound(to: CChar.self))
        _exit(1)
    }

    private static func begin() -> Never {
        executeAgainIfNotHarmless(argument)
        serve()
    }

    /// Answers questions until the parent has gone. Must never start with a capability: if the process has one, it ends
    /// at once, and no name is found.
    static func serve() -> Never {
        ChildProcess.setName("keybrokerd-name")
        guard Privileges.giveUpCapabilities() else { _exit(1) }
        Sandbox.restrictToReading()
        let socket = ChildProcess.takeEnd()
        while true {
            do throws(Failure) {
                _ = try waitUntilReadable(socket.descriptor, until: .never)
                guard let question = try packet(from: socket) else { break }
                let words = question.split(separator: " ", maxSplits: 1)
                guard words.count == 2, let kind = words[1].first else { break }
                try socket.send(Array("\(words[0]) \(answer(kind, String(words[1].dropFirst())))".utf8))
            } catch { break }
        }
        _exit(0)
    }

    private static func answer(_ kind: Character, _ name: String) -> String {
        do throws(Failure) {
            let id = kind == "g" ? try Accounts.gid(ofGroup: name) : try Accounts.user(named: name)?.uid
            return id.map(String.init) ?? "-"
        } catch { return "!\(error.code)" }
    }
}

extension Failure {
    /// Whether the process at the other end is gone.
    fileprivate var meansItEnded: Bool { [EPIPE, ECONNRESET].contains(code) }
}
