// Runs a command in the place of this process, with keys that it can read.
//
// Must never put a byte of a key into the environment, the arguments or a file with a path. Must never run the command
// if one of its files is missing.

internal import ClientKernel
internal import Kernel
internal import KeyBrokerClient
internal import PEM
internal import Wire

/// A command that is about to run in the place of this process.
package struct Launch {
    private let options: LaunchOptions
    private let note: (String) -> Void

    /// - Parameter note: told what the user should know although the command is run. It must not wait.
    package init(_ options: LaunchOptions, noting note: @escaping (String) -> Void) {
        self.options = options
        self.note = note
    }

    /// How it ended for this process.
    package enum Outcome {
        /// The command cannot be run.
        case failure(LaunchFailure)
        /// This is the process beside the command, which has ended.
        case commandHasEnded
    }

    /// Returns only if the command cannot be run, and in the process beside it.
    package func run() -> Outcome {
        do throws(LaunchFailure) {
            // Until the command runs, the keys are in this process.
            try calling(try Execution.forbidTracing())
            let numbers = try numbers()
            guard let notice = options.onRotate else {
                return .failure(try execute(numbers, try files(numbers, of: options.keyNames)))
            }
            guard wipeWhatOpenSSLFrees() else {
                throw LaunchFailure(status: LaunchFailure.system, "OpenSSL was used before it was set up")
            }
            let keys = try watchedKeys()
            var files = try files(numbers, of: options.keyNames.filter(options.lent.contains))
            for key in keys { files += try key.passed(numbers) }
            let service = try calling(try Service(pid: Privileges.processID))
            let names = handedOut.map(\.description).joined(separator: ", ")
            guard let aside = try calling(try Aside.begin(titled: "keybroker: watches \(names) for \(service.pid)"))
            else { return .failure(try execute(numbers, files)) }
            try watch(keys, service, aside, notice)
            return .commandHasEnded
        } catch {
            return .failure(error)
        }
    }

    // MARK: The numbers and the files

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

    /// Files that never change.
    private func files(_ numbers: Numbers, of names: [KeyName]) throws(LaunchFailure) -> [PassedFile] {
        let fetching = Fetching(broker, waitingUpTo: options.wait, noting: note)
        var files: [PassedFile] = []
        for name in names {
            let wanted = options.files(of: name)
            let material = try asking(name) { () throws(LaunchFailure) in
                try fetching.material(of: name, for: wanted, isLent: options.lent.contains(name))
            }
            for file in wanted {
                guard let number = numbers.numbers[file] else { continue }
                files.append(PassedFile(try calling(try Self.sealed(file, material)), as: number))
            }
        }
        return files
    }

    /// The keys that the command can read.
    private var handedOut: [KeyName] { options.keyNames.filter { !options.lent.contains($0) } }

    private static func sealed(_ file: KeyFile, _ material: borrowing KeyMaterial) throws(Failure) -> Descriptor {
        var memory = try MemoryFile(named: "keybroker \(file)")
        try material.write(file, to: &memory)
        return try memory.sealed()
    }

    private func watchedKeys() throws(LaunchFailure) -> [WatchedKey] {
        let deadline = Instant.now.after(options.wait)
        return try handedOut.map { name throws(LaunchFailure) in
            let key = try WatchedKey(name, broker, noting: note)
            try asking(name) { () throws(LaunchFailure) in
                try key.begin(options.files(of: name), waitingUntil: deadline)
            }
            return key
        }
    }

    private var broker: KeyBroker { KeyBroker(socketPath: options.socketPath) }

    /// Who meant no key by the braces is told how to write them.
    private func asking<R: ~Copyable>(
        _ name: KeyName, _ body: () throws(LaunchFailure) -> R
    ) throws(LaunchFailure) -> R {
        do { return try body() } catch {
            let isNamed = options.keys.contains(name) || options.variables.contains { $0.file.key == name }
            guard error.status == LaunchFailure.denied, !isNamed, let file = options.files(of: name).first else {
                throw error
            }
            throw LaunchFailure(
                status: error.status,
                "\(error.description). An argument of the command names it as {\(file)}; if no key is meant there, "
                    + "write {{\(file)}}")
        }
    }

    // MARK: The command

    /// Returns only if that fails.
    private func execute(_ numbers: Numbers, _ files: [PassedFile]) throws(LaunchFailure) -> LaunchFailure {
        if !options.lent.isEmpty { try prepareProvider() }
        for (name, file) in options.variables { try calling(try Execution.set(name, to: numbers.path(file))) }
        let words = options.command.prefix(1) + options.arguments.map { $0.filled(numbers.path) }
        let failure = Execution.replaceProcess(with: Array(words), passingOn: files)
        if failure.call == "dup2" {
            return LaunchFailure(
                status: LaunchFailure.usage,
                "\(failure): a number of a descriptor is beyond the limit of open files (ulimit -n)")
        }
        return LaunchFailure(
            status: failure.code == Failure.notFound ? LaunchFailure.notFound : LaunchFailure.notExecutable,
            "cannot run the command: \(failure)")
    }

    /// Lets the command's OpenSSL find the provider, and the provider the broker. What the caller has set stays.
    private func prepareProvider() throws(LaunchFailure) {
        if let path = options.socketPath { try calling(try Execution.set("KEYBROKER_SOCKET", to: path)) }
        guard !Execution.hasVariable("OPENSSL_CONF") else { return }
        guard let configuration = InstalledFile.find("share/keybroker/openssl.cnf") else {
            throw LaunchFailure(
                status: LaunchFailure.missing,
                "the provider for OpenSSL is not installed with this program: there is no share/keybroker/openssl.cnf beside "
                    + "its bin; install it, or set OPENSSL_CONF to a configuration that activates it")
        }
        try calling(try Execution.set("OPENSSL_CONF", to: configuration))
    }

    /// Keeps the files up to date until the command has ended.
    private func watch(
        _ keys: [WatchedKey], _ service: Service, _ aside: Aside, _ notice: LaunchOptions.Notice
    ) throws(LaunchFailure) {
        try calling(try Execution.set("KEYBROKER_SERVICE_PID", to: String(service.pid)))
        let notifier = Notifier(notice, service, aside, noting: note)
        try calling(try Watching(keys: keys, service: service, notifier: notifier).run())
    }

    private func calling<R: ~Copyable>(_ body: @autoclosure () throws(Failure) -> R) throws(LaunchFailure) -> R {
        do { return try body() } catch { throw LaunchFailure(status: LaunchFailure.system, "\(error)") }
    }
}
