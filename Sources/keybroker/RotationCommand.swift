// keybroker rotation: who has which content of a key, and when nobody has an old one any more.
//
// Must never report that an old key can go while a connection that watches it has not read the new one, or a signing
// channel signs with it.

internal import ArgumentParser
internal import Kernel
internal import KeyBrokerClient
internal import Wire

struct RotationCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotation", abstract: "Shows who has which content of a key.",
        discussion: """
            A key that was exchanged is announced to everybody who watches it. A signing channel goes on with the content \
            that it began with until its service asks for another channel. Who got the key without a watch, by 'get' or \
            at its start, is not known here: see 'keybroker audit show --key NAME'.
            """,
        subcommands: [RotationStatus.self, RotationWait.self])
}

struct RotationStatus: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Lists who watches a key or has it sign, and the generation that each has.")

    @Argument(help: "Only this key.", completion: .keys, transform: keyName)
    var name: KeyName?

    @Option(help: "'text': a table; 'json': one object per line.")
    var format = TableFormat.text

    @OptionGroup var options: BrokerOptions

    func run() throws {
        let keys = try askingAsAdministrator(try options.broker.holders(of: name, waitingUpTo: options.patience))
        if let name, keys.isEmpty { throw unknown(name) }
        // Without a channel the table is as it was before there were any.
        let hasChannels = keys.contains { $0.holders.contains(where: \.signs) }
        var table = Table(
            columns: ["key", "newest", "state", "has", "uid", "pid", "unit"] + (hasChannels ? ["how"] : []),
            numbers: ["newest", "has", "uid", "pid"])
        func add(_ cells: [String?], how: String?) { table.add(cells + (hasChannels ? [how] : [])) }
        for key in keys {
            let begin: [String?] = [key.name.description, String(key.generation), key.state.rawValue]
            // A key that nobody holds has a line of its own, as it was asked for.
            if key.holders.isEmpty { add(begin + [nil, nil, nil, nil], how: nil) }
            for holder in key.holders {
                add(
                    begin + [
                        holder.generation.map { String($0) }, String(holder.uid), holder.pid.map { String($0) },
                        holder.unit,
                    ], how: holder.signs ? "signs" : "watches")
            }
        }
        if table.isEmpty, format == .text { return try output(line: "nobody watches a key") }
        for line in format == .text ? table.lines : table.objects { try output(line: line) }
    }
}

struct RotationWait: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait",
        abstract: "Waits until nobody who watches a key or has it sign has an older content than its file's.",
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
                return try output(line: settled(key))
            }
            let now = Instant.now
            guard now < end else { throw timedOut(key) }
            do throws(Failure) { _ = try Kernel.pause(until: min(now.after(pause), end)) } catch {
                throw fail("cannot wait: \(error)", status: 71)
            }
            pause = min(pause * 2, Self.last)
        }
    }

    private func settled(_ key: KeyHolders) -> String {
        let channels = key.holders.count(where: \.signs)
        let number = key.holders.count - channels
        let watching =
            number == 0
            ? "nobody watches '\(name)'; who got it at its start is listed by 'keybroker audit show --key \(name)'"
            : number == 1
                ? "the one connection that watches '\(name)' has generation \(key.generation)"
                : "all \(number) connections that watch '\(name)' have generation \(key.generation)"
        if channels == 0 { return watching }
        let signing =
            channels == 1
            ? "the one channel on which it signs has generation \(key.generation)"
            : "all \(channels) channels on which it signs have generation \(key.generation)"
        return "\(watching); \(signing)"
    }

    private func timedOut(_ key: KeyHolders) -> ExitCode {
        for holder in key.behind {
            let who = [
                "uid \(holder.uid)", holder.pid.map { "pid \($0)" }, holder.unit.map { "in \($0)" },
            ].compactMap(\.self).joined(separator: " ")
            let verb = holder.signs ? "signs with" : "has"
            let what = holder.generation.map { "\(verb) generation \($0)" } ?? "has read nothing"
            say("keybroker: \(who) \(what), the newest is \(key.generation)")
        }
        switch key.state {
        case .settled:
            let channels = key.behind.count(where: \.signs)
            let connections = key.behind.count - channels
            let parts = [
                connections > 0 ? counted(connections, "connection") : nil,
                channels > 0 ? counted(channels, "channel") : nil,
            ].compactMap(\.self)
            let advice =
                channels == 0 ? "" : "; a channel signs with its key until its service is reloaded or restarted"
            // Of connections alone it says what it has always said.
            let are = channels == 1 && connections == 0 ? "is" : "are"
            return fail("\(parts.joined(separator: " and ")) of '\(name)' \(are) behind\(advice)", status: 75)
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
