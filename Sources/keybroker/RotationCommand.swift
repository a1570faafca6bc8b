// keybroker rotation: who has which content of a key, and when nobody has an old one any more.
//
// Must never report that an old key can go while a connection that watches it has not read the new one.

internal import ArgumentParser
internal import Kernel
internal import KeyBrokerClient
internal import Wire

struct RotationCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotation", abstract: "Shows who has which content of a key.",
        discussion: """
            A key that was exchanged is announced to everybody who watches it. Who got it without a watch, by 'get' or \
            at its start, is not known here: see 'keybroker audit show --key NAME'.
            """,
        subcommands: [RotationStatus.self, RotationWait.self])
}

struct RotationStatus: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Lists the connections that watch keys, and the generation that each has.")

    @Argument(help: "Only this key.", completion: .keys, transform: keyName)
    var name: KeyName?

    @Option(help: "'text': a table; 'json': one object per line.")
    var format = TableFormat.text

    @OptionGroup var options: BrokerOptions

    func run() throws {
        let keys = try askingAsAdministrator(try options.broker.holders(of: name, waitingUpTo: options.patience))
        if let name, keys.isEmpty { throw unknown(name) }
        var table = Table(
            columns: ["key", "newest", "state", "has", "uid", "pid", "unit"], numbers: ["newest", "has", "uid", "pid"])
        for key in keys {
            let begin: [String?] = [key.name.description, String(key.generation), key.state.rawValue]
            // A key that nobody watches has a line of its own, as it was asked for.
            if key.holders.isEmpty { table.add(begin + [nil, nil, nil, nil]) }
            for holder in key.holders {
                table.add(
                    begin + [
                        holder.generation.map { String($0) }, String(holder.uid), holder.pid.map { String($0) },
                        holder.unit,
                    ])
            }
        }
        if table.isEmpty, format == .text { return try output(line: "nobody watches a key") }
        for line in format == .text ? table.lines : table.objects { try output(line: line) }
    }
}

struct RotationWait: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait", abstract: "Waits until nobody who watches a key has an older content than its file's.",
        discussion: "Exit status: 0 then; 75 if the time is over, with a list of those who are behind.")

    @Argument(help: "The key's name in the policy.", completion: .keys, transform: keyName)
    var name: KeyName

    @Option(
        help: ArgumentHelp("How long to wait, such as 30s or 5m.", valueName: "time"), transform: timeSpan)
    var timeout = Duration.seconds(60)

    @OptionGroup var options: BrokerOptions

    /// How often the broker is asked, at first and later.
    private static let first = Duration.milliseconds(50), last = Duration.seconds(1)

    func run() throws {
        let end = Instant.now.after(timeout)
        var pause = Self.first
        while true {
            let keys = try askingAsAdministrator(try options.broker.holders(of: name, waitingUpTo: options.patience))
            guard let key = keys.first else { throw unknown(name) }
            if key.state == .settled, key.behind.isEmpty {
                let number = key.holders.count
                return try output(
                    line: number == 0
                        ? "nobody watches '\(name)'; who got it at its start is listed by "
                            + "'keybroker audit show --key \(name)'"
                        : number == 1
                            ? "the one connection that watches '\(name)' has generation \(key.generation)"
                            : "all \(number) connections that watch '\(name)' have generation \(key.generation)")
            }
            let now = Instant.now
            guard now < end else { throw timedOut(key) }
            do throws(Failure) { _ = try Kernel.pause(until: min(now.after(pause), end)) } catch {
                throw fail("cannot wait: \(error)", status: 71)
            }
            pause = min(pause * 2, Self.last)
        }
    }

    private func timedOut(_ key: KeyHolders) -> ExitCode {
        for holder in key.behind {
            let who = [
                "uid \(holder.uid)", holder.pid.map { "pid \($0)" }, holder.unit.map { "in \($0)" },
            ].compactMap(\.self).joined(separator: " ")
            let what = holder.generation.map { "has generation \($0)" } ?? "has read nothing"
            say("keybroker: \(who) \(what), the newest is \(key.generation)")
        }
        switch key.state {
        case .settled: return fail("\(counted(key.behind.count, "connection")) of '\(name)' are behind", status: 75)
        case .settling: return fail("key '\(name)' is still changing", status: 75)
        case .unavailable:
            return fail(
                "the file of key '\(name)' cannot be handed out now; 'keybroker policy check' says why", status: 75)
        }
    }
}

private func keyName(_ text: String) throws -> KeyName {
    guard let name = KeyName(text) else {
        throw ValidationError("'\(printable(text))': \(KeyName.fault(in: Array(text.utf8)[...]) ?? "not a key name")")
    }
    return name
}

private func timeSpan(_ text: String) throws -> Duration {
    guard let time = duration(text), time <= .seconds(86_400) else {
        throw ValidationError("'\(printable(text))' is no time up to a day, such as 30s, 500ms or 2m")
    }
    return time
}

private func unknown(_ name: KeyName) -> ExitCode {
    fail("there is no key '\(name)' in the policy in force; 'keybroker policy show' lists all", status: 69)
}
