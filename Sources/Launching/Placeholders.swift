// The names in braces in the arguments of a command: `{web}`, `{web.certificate}`, `{web.bundle}`.
//
// Must never leave out a name that is written as one: a key that is not permitted is an error, and not a text that the
// command takes for a path. Must never change any other text.

internal import Wire

/// An argument, as texts and names of files.
struct Template: Equatable, Sendable {
    enum Piece: Equatable, Sendable {
        case text([UInt8])
        case file(KeyFile)
    }

    private(set) var pieces: [Piece] = []

    /// Reads an argument.
    ///
    /// A name is replaced if it stands alone between braces. `${name}` is left as it is, for the sake of shells. With
    /// more than one brace on both sides, one pair of them is taken away and the rest is left: `{{name}}` becomes
    /// `{name}`.
    init(_ argument: [UInt8], known keys: Set<KeyName>) {
        var text: [UInt8] = []
        var position = 0
        while position < argument.count {
            guard argument[position] == Self.opening else {
                text.append(argument[position])
                position += 1
                continue
            }
            let opened = Self.end(of: argument, from: position) { $0 == Self.opening }
            let named = Self.end(of: argument, from: opened) { $0 != Self.opening && $0 != Self.closing }
            let closed = Self.end(of: argument, from: named) { $0 == Self.closing }
            let isOfAShell = position > 0 && argument[position - 1] == UInt8(ascii: "$")
            let pairs = min(opened - position, closed - named)
            guard pairs > 0, !isOfAShell, let file = KeyFile(argument[opened..<named], known: keys) else {
                // What stands between may begin with the next opening brace.
                text += argument[position..<named]
                position = named
                continue
            }
            text += argument[position..<(opened - 1)]
            if pairs == 1 {
                if !text.isEmpty { pieces.append(.text(text)) }
                pieces.append(.file(file))
                text = []
            } else {
                text += argument[opened..<named]
            }
            text += argument[(named + 1)..<closed]
            position = closed
        }
        if !text.isEmpty || pieces.isEmpty { pieces.append(.text(text)) }
    }

    /// The files that it names, in order.
    var files: [KeyFile] {
        pieces.compactMap { piece in if case .file(let file) = piece { file } else { nil } }
    }

    /// The argument with the files' paths.
    func filled(_ path: (KeyFile) -> String) -> [UInt8] {
        pieces.flatMap { piece in
            switch piece {
            case .text(let text): text
            case .file(let file): Array(path(file).utf8)
            }
        }
    }

    private static let opening = UInt8(ascii: "{"), closing = UInt8(ascii: "}")

    /// The first position from `start` on whose byte does not fit.
    private static func end(of argument: [UInt8], from start: Int, while fits: (UInt8) -> Bool) -> Int {
        var position = start
        while position < argument.count, fits(argument[position]) { position += 1 }
        return position
    }
}
