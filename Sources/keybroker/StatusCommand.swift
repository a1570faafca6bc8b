// keybroker status: shows the broker's status for people, programs and monitoring systems.

internal import ArgumentParser
internal import KeyBrokerClient
internal import Wire

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Shows how the broker is.",
        discussion: """
            Asks the running daemon, which tells root, the account that it runs as, and whom a line \
            'permit IDENTITY status' of the policy names. Counts are since it started. \
            Exit status: 0; 78 if the policy was faulty when the daemon started, so that it serves nobody (with \
            'openmetrics' 0, and keybroker_policy_in_force is 0).
            """)

    enum Format: String, ExpressibleByArgument, CaseIterable {
        case text, json, openmetrics
    }

    @Option(help: "'text'; 'json': one object; 'openmetrics': for a monitoring system.")
    var format = Format.text

    @OptionGroup var options: BrokerOptions

    func run() throws {
        let page = try asking(try options.broker.status(waitingUpTo: options.patience))
        let status = BrokerStatus(page)
        let lines =
            switch format {
            case .text: status.text(note: PolicyInForce.note(status))
            case .json: [status.object]
            case .openmetrics: status.openMetrics
            }
        for line in lines { try output(line: line) }
        // A monitoring system is told by a metric, and the file for it must come into its place.
        if status.isWithoutPolicy, format != .openmetrics {
            throw fail("the policy is faulty, so nobody is served; correct it, and \(status.remedy())", status: 78)
        }
    }
}
