// The packets between the daemon and the process that opens keys.
//
// Must never be longer than a few paths and what a client is told.

internal import Kernel
internal import Wire

/// How the files of a key are wanted.
enum OpenerForm: String, Sendable {
    /// As descriptors.
    case open
    /// Open there, until they are sent to a client or dropped.
    case held
    /// As copies in memory.
    case copied
}

/// A question: the files of a key.
struct OpenerQuestion: Hashable, Sendable {
    /// The mount that they are on, or 0. It only says what is done one after the other.
    let lane: UInt64
    let form: OpenerForm
    /// As the policy names them: the key, and its certificate if there is one.
    let paths: [String]
}

/// A packet: a line, and what belongs to it.
enum OpenerPacket {
    case open(UInt64, OpenerQuestion)
    /// Asks for a packet to be sent to a client with the files of a question. It must not be sent after that moment.
    case send(UInt64, until: Instant, packet: [UInt8])
    case drop(UInt64)
    /// The answer to `open`, if need be with descriptors.
    case opened(UInt64, [FileFacts])
    case failed(UInt64, TrustError)
    /// The answer to `send`, with an errno or 0.
    case sent(UInt64, code: Int32)

    /// The longest packet, in bytes. A path has at most 4096.
    static let longest = 20_480
    /// Asks for the policy to be read again.
    static let policy = Array("policy".utf8)
    /// Tells that it was read.
    static let policyRead = Array("policy read".utf8)
    /// Tells that a file may have changed.
    static let changed = Array("changed".utf8)

    private static let kinds: [(word: String, kind: TrustError.Kind)] = [
        ("missing", .missing), ("unreadable", .unreadable), ("untrusted", .untrusted), ("shortage", .shortage),
        ("outside", .outside), ("late", .late), ("oversized", .oversized),
    ]

    private static let elsewhere = "elsewhere"

    private static func word(for kind: TrustError.Kind) -> String {
        if case .elsewhere(let mount) = kind { return "\(elsewhere) \(mount)" }
        return kinds.first { $0.kind == kind }?.word ?? "late"
    }

    /// Nil if the bytes are no such packet.
    init?(_ bytes: [UInt8]) {
        let head = bytes.prefix { $0 != UInt8(ascii: "\n") }
        let rest = bytes.dropFirst(head.count + 1)
        let words = String(decoding: head, as: UTF8.self).split(separator: " ")
        guard words.count >= 2, let number = decimal(words[1], as: UInt64.self) else { return nil }
        func lines() -> [String] {
            String(decoding: rest, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false).map(
                String.init)
        }
        switch (words[0], words.count) {
        case ("open", 4):
            guard let lane = decimal(words[2], as: UInt64.self), let form = OpenerForm(rawValue: String(words[3]))
            else { return nil }
            self = .open(number, OpenerQuestion(lane: lane, form: form, paths: lines()))
        case ("send", 3):
            guard let end = decimal(words[2], as: Int64.self) else { return nil }
            self = .send(number, until: Instant(sinceBoot: .microseconds(end)), packet: Array(rest))
        case ("drop", 2): self = .drop(number)
        case ("opened", 2):
            var files: [FileFacts] = []
            let lines = lines()
            for index in stride(from: 0, to: lines.count - 1, by: 2) {
                guard let status = FileStatus(words: lines[index + 1]) else { return nil }
                files.append(FileFacts(path: lines[index], status: status))
            }
            guard !files.isEmpty else { return nil }
            self = .opened(number, files)
        case ("failed", 4) where words[2] == Self.elsewhere:
            guard let mount = decimal(words[3], as: UInt64.self) else { return nil }
            self = .failed(number, TrustError(.elsewhere(mount), String(decoding: rest, as: UTF8.self)))
        case ("failed", 3):
            guard let kind = Self.kinds.first(where: { $0.word == words[2] })?.kind else { return nil }
            self = .failed(number, TrustError(kind, String(decoding: rest, as: UTF8.self)))
        case ("sent", 3):
            guard let code = decimal(words[2], as: Int32.self) else { return nil }
            self = .sent(number, code: code)
        default: return nil
        }
    }

    var bytes: [UInt8] {
        switch self {
        case .open(let number, let question):
            Self.text("open \(number) \(question.lane) \(question.form.rawValue)", question.paths)
        case .send(let number, let end, let packet):
            Self.text("send \(number) \(Instant.boot.until(end).wholeMicroseconds)", [""]) + packet
        case .drop(let number): Self.text("drop \(number)", [])
        case .opened(let number, let files):
            Self.text("opened \(number)", files.flatMap { [$0.path, $0.status.words] })
        case .failed(let number, let error):
            Self.text("failed \(number) \(Self.word(for: error.kind))", [error.description])
        case .sent(let number, let code): Self.text("sent \(number) \(code)", [])
        }
    }

    private static func text(_ head: String, _ lines: [String]) -> [UInt8] {
        Array(([head] + lines).joined(separator: "\n").utf8.prefix(longest))
    }
}

extension Duration {
    fileprivate var wholeMicroseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1_000_000 + attoseconds / 1_000_000_000_000
    }
}
