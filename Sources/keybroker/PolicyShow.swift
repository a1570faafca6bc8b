// keybroker policy show: lists each key, its file, who may have it, and the line that permits it.

internal import ArgumentParser
internal import Kernel
internal import Policy
internal import PolicyLoading
internal import Wire

struct PolicyShow: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Shows each key, its file, who may have it, and by which line.")

    @Option(help: "'text': a table; 'json': one object a line.")
    var format = TableFormat.text

    @OptionGroup var options: PolicyOptions

    func run() throws {
        let policy = try options.load().policy
        var table = Table(columns: ["key", "file", "permitted", "unit", "line"])
        for key in policy.keys.values.sorted(by: { $0.name < $1.name }) {
            let rules = policy.rules[key.name] ?? []
            if rules.isEmpty {
                table.add([key.name.description, key.source.description, nil, nil, key.location.description])
            }
            for rule in rules {
                table.add([
                    key.name.description, key.source.description, rule.writtenIdentity, rule.unit?.description,
                    rule.location.description,
                ])
            }
        }
        for line in format == .json ? table.objects : table.lines { try output(line: line) }
    }
}
