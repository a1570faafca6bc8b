// keybroker list: prints the keys that the caller may get.

internal import ArgumentParser
internal import KeyBrokerClient
internal import Wire

struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lists the keys that you may get.")

    @Option(help: "'text': one name a line; 'json': one object a line.")
    var format = TableFormat.text

    @OptionGroup var options: BrokerOptions

    func run() throws {
        let names = try asking(try options.broker.keys(waitingUpTo: options.patience))
        for name in names {
            var object = JSONObject()
            object.add("key", name)
            try output(line: format == .json ? object.text : name)
        }
    }
}
