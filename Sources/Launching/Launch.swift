// Runs a command in the place of this process, with keys that it can read.
//
// Must never put a byte of a key into the environment, the arguments or a file with a path. Must never run the command
// if one of its files is missing.

internal import ClientKernel
internal import Kernel
internal import KeyBrokerClient
internal import Wire

/// A command that is about to run in the place of this process.
package struct Launch {
    private let options: LaunchOptions
    private let note: (String) -> Void

    /// - Parameter note: told what the user should know although the command is run.
    package init(_ options: LaunchOptions, noting note: @escaping (String) -> Void) {
        self.options = options
        self.note = note
    }

    /// Returns only if the command cannot be run.
    package func run() -> LaunchFailure {
        do throws(LaunchFailure) {
            // Until the command runs, the keys are in this process.
            try calling(try Execution.forbidTracing())
            let numbers = try numbers()
            let files = try files(numbers)
            for (name, file) in options.variables { try calling(try Execution.set(name, to: numbers.path(file))) }
            let words = options.command.prefix(1) + options.arguments.map { $0.filled(numbers.path) }
            return Self.failure(Execution.replaceProcess(with: Array(words), passingOn: files))
        } catch {
            return error
        }
    }

    private func numbers() throws(LaunchFailure) -> Numbers {
        // sd_listen_fds(3): they are meant for the process that has this number, which the command will be.
        let isForUs = environment("LISTEN_PID") == String(Privileges.processID)
        let sockets = isForUs ? environment("LISTEN_FDS").flatMap { decimal($0) } ?? 0 : 0
        do throws(Numbers.Fault) {
            return try Numbers(options, sockets: sockets, isPassedOn: Execution.isPassedOn)
        } catch {
            throw LaunchFailure(status: LaunchFailure.usage, error.description)
        }
    }

    private func files(_ numbers: Numbers) throws(LaunchFailure) -> [PassedFile] {
        let fetching = Fetching(KeyBroker(socketPath: options.socketPath), waitingUpTo: options.wait, noting: note)
        let wanted = options.files
        var files: [PassedFile] = []
        var asked: Set<KeyName> = []
        for name in wanted.map(\.key) where asked.insert(name).inserted {
            let ofKey = wanted.filter { $0.key == name }
            let material = try material(of: name, for: ofKey, by: fetching)
            for file in ofKey {
                guard let number = numbers.numbers[file] else { continue }
                let memory = try calling(try Self.file(file, of: material))
                files.append(PassedFile(memory, as: number))
            }
        }
        return files
    }

    private func material(
        of name: KeyName, for files: [KeyFile], by fetching: Fetching
    ) throws(LaunchFailure) -> KeyMaterial {
        do { return try fetching.material(of: name, for: files) } catch { throw hint(error, about: name) }
    }

    /// The file with its bytes, which nobody can change any more.
    private static func file(_ file: KeyFile, of material: borrowing KeyMaterial) throws(Failure) -> MemoryFile {
        var memory = try MemoryFile(named: "keybroker \(file)")
        try material.write(file, to: &memory)
        try memory.seal()
        return memory
    }

    /// Who meant no key by the braces is told how to write them.
    private func hint(_ failure: LaunchFailure, about name: KeyName) -> LaunchFailure {
        let isNamed = options.keys.contains(name) || options.variables.contains { $0.file.key == name }
        guard failure.status == LaunchFailure.denied, !isNamed,
            let file = options.files.first(where: { $0.key == name })
        else { return failure }
        return LaunchFailure(
            status: failure.status,
            "\(failure.description). An argument of the command names it as {\(file)}; if no key is meant there, "
                + "write {{\(file)}}")
    }

    private static func failure(_ failure: Failure) -> LaunchFailure {
        if failure.call == "dup2" {
            return LaunchFailure(
                status: LaunchFailure.usage,
                "\(failure): a number of a descriptor is beyond the limit of open files (ulimit -n)")
        }
        return LaunchFailure(
            status: failure.code == Failure.notFound ? LaunchFailure.notFound : LaunchFailure.notExecutable,
            "cannot run the command: \(failure)")
    }

    private func calling<R: ~Copyable>(_ body: @autoclosure () throws(Failure) -> R) throws(LaunchFailure) -> R {
        do { return try body() } catch { throw LaunchFailure(status: LaunchFailure.system, "\(error)") }
    }
}

extension KeyMaterial {
    /// Writes what belongs into the file.
    borrowing func write(_ file: KeyFile, to memory: inout MemoryFile) throws(Failure) {
        if file.hasCertificate {
            switch certificate {
            case .some(let certificate):
                try certificate.withBytes { bytes throws(Failure) in
                    try memory.append(bytes)
                    // The key begins on a line of its own.
                    if file.hasKey, bytes[bytes.count - 1] != UInt8(ascii: "\n") {
                        try memory.append([UInt8(ascii: "\n")].span)
                    }
                }
            case .none: break
            }
        }
        if file.hasKey { try key.withBytes { bytes throws(Failure) in try memory.append(bytes) } }
    }
}
