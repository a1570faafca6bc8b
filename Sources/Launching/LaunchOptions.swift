// The command line of `keybroker exec`.
//
// Must never guess: an option that is not known is an error before anything is asked for. Must never change the bytes of
// the command.

internal import Wire
internal import Kernel
package import ClientKernel

/// What is to be run, and what it is to be given.
package struct LaunchOptions: Equatable, Sendable {
    /// A file that an option names, with its number if the option gives one.
    package struct Request: Equatable, Sendable {
        package let file: KeyFile
        package let number: Int32?
        /// The option as it was written, for messages.
        let written: String
    }

    package private(set) var requests: [Request] = []
    /// The keys that sign and are not handed out: pointer files stand in their places.
    private(set) var lent: Set<KeyName> = []
    /// The variables of the environment that are set to paths, in order.
    private(set) var variables: [(name: String, file: KeyFile)] = []
    package private(set) var wait = Duration.zero
    package private(set) var socketPath: String?
    /// What is done when a key has changed. Nil: the files never change.
    package private(set) var onRotate: Notice?
    /// The program and its arguments, with names in braces.
    package private(set) var command: [Word] = []

    /// How a command learns that a key has changed.
    package enum Notice: Equatable, Sendable {
        case signal(Signal)
        /// A command for the shell.
        case command(String)
    }

    /// Why a command line is not run.
    package enum Refusal: Error, Equatable, Sendable {
        case helpWanted
        case fault(String)
    }

    /// The options, as they are written on the command line, and what follows each.
    package static let options = [
        ("--key", "NAME[=N]"), ("--certificate", "NAME[=N]"), ("--bundle", "NAME[=N]"), ("--sign", "NAME[=N]"),
        ("--env", "VAR=NAME"),
        ("--on-rotate", "SIGNAL"), ("--on-rotate-run", "COMMAND"), ("--wait", "TIME"), ("--socket", "PATH"),
    ]

    /// What this process was started with. Nil if that is another command than `exec`.
    package static func ofThisProcess() throws(Refusal) -> LaunchOptions? {
        let words = ProgramArguments.bytes
        guard let first = words.first, first.elementsEqual("exec".utf8) else { return nil }
        return try LaunchOptions(Array(words.dropFirst()))
    }

    /// Reads the words after `exec`. The command begins after `--`, or with the first word that is no option.
    package init(_ words: [Word]) throws(Refusal) {
        var rest = words[...]
        var namedVariables: [String] = []
        while let word = rest.first, word.first == UInt8(ascii: "-") {
            rest.removeFirst()
            if word.elementsEqual("--".utf8) { break }
            let text = String(decoding: word, as: UTF8.self)
            if ["--help", "-h"].contains(text) { throw .helpWanted }
            let name = String(decoding: word.prefix { $0 != UInt8(ascii: "=") }, as: UTF8.self)
            guard let option = Self.options.first(where: { $0.0 == name }) else {
                let known = Self.options.map(\.0).joined(separator: ", ")
                throw .fault("unknown option '\(name)'; the options are \(known), and -- stands before the command")
            }
            let value: String
            if name.utf8.count < text.utf8.count {
                value = String(decoding: word.dropFirst(name.utf8.count + 1), as: UTF8.self)
            } else if let next = rest.popFirst() {
                value = String(decoding: next, as: UTF8.self)
            } else {
                throw .fault("\(name) needs a value: \(name) \(option.1)")
            }
            if name == "--env" { namedVariables.append(value) } else { try take(name, value) }
        }
        command = Array(rest)
        // What a name means depends on the keys that the other options name.
        for variable in namedVariables { try take(variable: variable) }
        if onRotate != nil, !lent.isEmpty, keyNames.allSatisfy(lent.contains) {
            throw .fault(
                "--on-rotate and --on-rotate-run are for keys that are handed out, and there is none: a key of --sign is "
                    + "asked for anew when the command reads the pointer file again, so have whatever replaces the key tell it"
            )
        }
        guard !command.isEmpty else {
            throw .fault("there is no command to run; write it after --, as in: keybroker exec --key web=7 -- COMMAND")
        }
    }

    private mutating func take(_ name: String, _ value: String) throws(Refusal) {
        switch name {
        case "--key": try request(.key, name, value)
        case "--certificate": try request(.certificate, name, value)
        case "--bundle": try request(.bundle, name, value)
        case "--sign":
            let file = try request(.key, name, value)
            lent.insert(file.key)
        case "--wait":
            guard let time = duration(value), time <= .seconds(86_400) else {
                throw .fault("--wait '\(value)' is no time up to a day, such as 30s, 500ms or 2m")
            }
            wait = time
        case "--on-rotate":
            guard let signal = Signal(value) else {
                throw .fault("--on-rotate '\(value)' is no signal that a program can handle, such as HUP or USR1")
            }
            try notify(.signal(signal))
        case "--on-rotate-run":
            guard !value.isEmpty else { throw .fault("--on-rotate-run needs a command, such as 'nginx -s reload'") }
            try notify(.command(value))
        case "--socket":
            guard !value.isEmpty else { throw .fault("--socket needs a path") }
            socketPath = value
        default: throw .fault("unknown option '\(name)'")
        }
    }

    private mutating func notify(_ notice: Notice) throws(Refusal) {
        guard onRotate == nil else { throw .fault("there is more than one --on-rotate or --on-rotate-run") }
        onRotate = notice
    }

    @discardableResult
    private mutating func request(
        _ part: KeyFile.Part, _ option: String, _ value: String
    ) throws(Refusal) -> KeyFile {
        let name = Array(value.utf8.prefix { $0 != UInt8(ascii: "=") })[...]
        guard let key = KeyName(name) else {
            throw .fault("\(option) '\(value)': \(KeyName.fault(in: name) ?? "no key name")")
        }
        var number: Int32?
        if name.count < value.utf8.count {
            let digits = String(value.dropFirst(name.count + 1))
            // 0 to 2 are the standard streams.
            guard let decimal = decimal(digits), (3...Int(Int32.max)).contains(decimal) else {
                throw .fault("\(option) '\(value)': '\(digits)' is no number of a descriptor; it is 3 or more")
            }
            number = Int32(decimal)
        }
        let file = KeyFile(key, part)
        if let other = requests.first(where: { $0.file == file }) {
            guard other.written.hasPrefix("\(option) ") else {
                throw .fault(
                    "\(file) is named by --key and by --sign: a key is either handed out, or signs for the command")
            }
            throw .fault("\(option) '\(value)': \(file) is named twice")
        }
        requests.append(Request(file: file, number: number, written: "\(option) \(value)"))
        return file
    }

    private mutating func take(variable text: String) throws(Refusal) {
        let name = text.prefix { $0 != "=" }
        let value = Array(text.utf8.dropFirst(name.utf8.count + 1))[...]
        guard let first = name.utf8.first, !first.isDigit,
            name.utf8.allSatisfy({ $0 == UInt8(ascii: "_") || $0.isDigit || $0.isASCIILetter })
        else { throw .fault("--env '\(text)': it is VAR=NAME, and VAR is made of letters, digits and '_'") }
        guard let file = KeyFile(value, known: keys) else {
            throw .fault("--env '\(text)': \(KeyName.fault(in: value) ?? "no name of a key after '='")")
        }
        variables.append((String(name), file))
    }

    /// The keys that options name.
    var keys: Set<KeyName> { Set(requests.map(\.file.key)) }

    /// The arguments of the command, without the program.
    var arguments: [Template] { command.dropFirst().map { Template($0, known: keys) } }

    /// All files that are needed, each of them once, in the order in which they are named.
    package var files: [KeyFile] {
        var files = requests.map(\.file)
        for file in variables.map(\.file) + arguments.flatMap(\.files) where !files.contains(file) {
            files.append(file)
        }
        return files
    }

    /// The keys of these files, each once, and the files of one.
    var keyNames: [KeyName] {
        files.map(\.key).reduce(into: []) { names, name in if !names.contains(name) { names.append(name) } }
    }
    func files(of name: KeyName) -> [KeyFile] { files.filter { $0.key == name } }

    package static func == (left: LaunchOptions, right: LaunchOptions) -> Bool {
        left.requests == right.requests && left.lent == right.lent && left.wait == right.wait
            && left.onRotate == right.onRotate
            && left.socketPath == right.socketPath
            && left.command == right.command
            && left.variables.elementsEqual(right.variables) { $0.name == $1.name && $0.file == $1.file }
    }
}

extension UInt8 {
    fileprivate var isASCIILetter: Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self | 0x20)
    }
}
