// What is there for monitoring: the file of metrics, the alert rules and the dashboard. promtool and a real Prometheus read
// them, with the numbers of a real broker.
//
// Must never check a rule or a query against a metric that only a test writes.

import Foundation
import TestSupport
import Testing

@Suite(.serialized) struct MonitoringTests {
    private let folder = TemporaryFolder("monitoring")
    private static let monitoring = projectFolder.appendingPathComponent("systemd/monitoring")
    private static let rules = monitoring.appendingPathComponent("keybroker.rules.yml").path
    private static let dashboard = monitoring.appendingPathComponent("keybroker.dashboard.json").path
    private static let here = testsFolder.appendingPathComponent("OperationsTests")

    /// The script, with the tool that was built.
    private func writer() throws -> String {
        let text = try String(contentsOf: Self.monitoring.appendingPathComponent("write-metrics"), encoding: .utf8)
        #expect(text.contains("/usr/bin/keybroker "))
        return try folder.write(
            "write-metrics", text.replacing("/usr/bin/keybroker ", with: "\(Program.built("keybroker")) "), mode: 0o755)
    }

    private func daemon() throws -> Daemon {
        try folder.write("key", "KEY", mode: 0o600)
        let caller = isRoot ? "0" : String(geteuid())
        return try Daemon(
            folder,
            policy: """
                key web-tls \(folder["key"])
                key gone \(folder["gone"])
                key other \(folder["key"])
                permit \(caller) key web-tls gone

                """)
    }

    private func write(_ writer: String, _ daemon: Daemon) throws -> (status: Int32, output: String, errors: String) {
        try Program.run(writer, [folder["keybroker.prom"]], environment: ["KEYBROKER_SOCKET": daemon.socket])
    }

    /// A granted, a denied and an unavailable request.
    private func ask(_ daemon: Daemon) throws {
        for (name, status) in [("web-tls", 0), ("gone", 75), ("other", 77)] as [(String, Int32)] {
            let got = try Program.run(
                Program.built("keybroker"), ["get", name, "--force"], environment: ["KEYBROKER_SOCKET": daemon.socket])
            #expect(got.status == status, "\(name): \(got.errors)")
        }
    }

    @Test func theFileIsThereWholeAndSaysIfTheBrokerIsDown() throws {
        let (daemon, writer) = (try daemon(), try writer())
        var written = try write(writer, daemon)
        #expect(written == (0, "", ""))
        let text = try folder.text("keybroker.prom")
        #expect(text.contains("\nkeybroker_up 1\n") && text.contains("\nkeybroker_policy_keys 3\n"))
        #expect(text.hasSuffix("# EOF\n"))
        if let promtool = installed("promtool") {
            let check = try Program.run(
                "/bin/sh", ["-c", "\(promtool) check metrics <\(folder["keybroker.prom"]) 2>&1"])
            #expect(check.status == 0 && check.output.isEmpty, "\(check.output)")
        }
        // Others may read it, and there is nothing else that a collector would read.
        let attributes = try FileManager.default.attributesOfItem(atPath: folder["keybroker.prom"])
        #expect(attributes[.posixPermissions] as? Int == 0o644)
        try daemon.stop()
        written = try write(writer, daemon)
        #expect(written.status == 0 && written.errors.contains("no broker at"), "\(written.errors)")
        #expect(try folder.text("keybroker.prom").hasSuffix("\nkeybroker_up 0\n# EOF\n"))
        #expect(!(try folder.text("keybroker.prom")).contains("policy_keys"))
        // The same failure is said once.
        #expect(try write(writer, daemon) == (0, "", ""))
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(files.filter { $0.hasPrefix("keybroker.prom") } == ["keybroker.prom"])
        // A file that cannot be written fails, and the old one stays.
        let failed = try Program.run(writer, [folder["no/such/keybroker.prom"]])
        #expect(failed.status != 0)
    }

    @Test(.enabled(if: installed("promtool") != nil, "promtool is not installed")) func everyAlertIsTried() throws {
        let promtool = installed("promtool") ?? ""
        let check = try Program.run(promtool, ["check", "rules", Self.rules])
        #expect(check.status == 0, "\(check.output)\(check.errors)")
        let cases = try String(contentsOf: Self.here.appendingPathComponent("Monitoring/alerts.yml"), encoding: .utf8)
        let file = try folder.write("alerts.yml", cases.replacing("@RULES@", with: Self.rules))
        let tested = try Program.run(promtool, ["test", "rules", file])
        #expect(tested.status == 0, "\(tested.output)\(tested.errors)")
        let rules = try String(contentsOf: URL(fileURLWithPath: Self.rules), encoding: .utf8)
        let alerts = rules.matches(of: #/- alert: (\w+)/#).map { String($0.1) }
        #expect(alerts.count > 8)
        let page = try String(
            contentsOf: projectFolder.appendingPathComponent("systemd/keybrokerd.8"), encoding: .utf8)
        for alert in alerts {
            #expect(page.contains(".It Ic \(alert)\n"), "\(alert) is not in keybrokerd(8)")
            #expect(cases.contains("alertname: \(alert)\n        exp_alerts:"), "\(alert) is never seen to fire")
        }
    }

    private struct Answers: Decodable {
        var shown: [String]
        var queries: [String: Answer]
        var rules: [String: [String]]

        /// The number of series, or an error.
        enum Answer: Decodable {
            case series(Int)
            case error(String)

            init(from decoder: any Decoder) throws {
                let value = try decoder.singleValueContainer()
                if let number = try? value.decode(Int.self) {
                    self = .series(number)
                } else {
                    self = .error(try value.decode(String.self))
                }
            }
        }
    }

    @Test(
        .enabled(
            if: installed("prometheus") != nil && installed("python3") != nil, "prometheus or python3 is not installed")
    )
    func everyQueryOfTheDashboardShowsSomething() throws {
        let (daemon, writer) = (try daemon(), try writer())
        try ask(daemon)
        let run = try Program.run(
            installed("python3") ?? "",
            [
                Self.here.appendingPathComponent("Scripts/monitor.py").path, folder.path, Self.dashboard, Self.rules,
                writer,
            ],
            environment: ["KEYBROKER_SOCKET": daemon.socket], seconds: 120)
        let log = (try? folder.text("prometheus.log")) ?? ""
        try #require(run.status == 0, "\(run.errors)\(log)")
        let answers = try JSONDecoder().decode(Answers.self, from: Data(run.output.utf8))
        #expect(answers.shown.count > 15)
        for (query, answer) in answers.queries {
            switch answer {
            case .series(let count): #expect(count > 0 || !answers.shown.contains(query), "nothing: \(query)")
            case .error(let error): Issue.record("\(query): \(error)")
            }
        }
        // Each rule can be evaluated, and the key that is missing is noticed.
        #expect(answers.rules.count > 8)
        for (name, state) in answers.rules { #expect(state.first == "ok", "\(name): \(state)") }
        #expect(answers.rules["KeybrokerKeyUnavailable"]?.last == "firing")
        // The rules use only metrics that the broker has, or node_exporter.
        let metrics = try folder.text("keybroker.prom")
        for text in [Self.rules, Self.dashboard] {
            let text = try String(contentsOf: URL(fileURLWithPath: text), encoding: .utf8)
            for name in Set(text.matches(of: #/keybroker_[a-z_]+/#).map { String($0.0) }) {
                let isThere = metrics.contains(try Regex("\n\(name)[ {]"))
                #expect(isThere || name == "keybroker_keys_outside_sandbox", "\(name) is no metric")
            }
        }
    }

    @Test func theDashboardIsOneThatGrafanaReads() throws {
        let data = try Data(contentsOf: URL(fileURLWithPath: Self.dashboard))
        let board = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        #expect(board["schemaVersion"] as? Int == 37 && board["uid"] as? String == "keybroker")
        let panels = try #require(board["panels"] as? [[String: Any]])
        var places: Set<[Int]> = []
        for panel in panels {
            let title = panel["title"] as? String ?? ""
            #expect(["stat", "timeseries", "table"].contains(panel["type"] as? String), "\(title)")
            #expect(!title.isEmpty && panel["description"] is String)
            let source = panel["datasource"] as? [String: String]
            #expect(source == ["type": "prometheus", "uid": "${datasource}"], "\(title)")
            let grid = try #require(panel["gridPos"] as? [String: Int])
            let (x, y, w, h) = (grid["x"] ?? -1, grid["y"] ?? -1, grid["w"] ?? 0, grid["h"] ?? 0)
            #expect(x >= 0 && y >= 0 && w > 0 && h > 0 && x + w <= 24, "\(title)")
            for column in x..<(x + w) {
                for row in y..<(y + h) { #expect(places.insert([column, row]).inserted, "\(title) overlaps") }
            }
            let targets = try #require(panel["targets"] as? [[String: Any]])
            let letters = targets.compactMap { $0["refId"] as? String }
            #expect(!targets.isEmpty && Set(letters).count == targets.count, "\(title)")
        }
        #expect(Set(panels.compactMap { $0["id"] as? Int }).count == panels.count)
        let variables = (board["templating"] as? [String: Any])?["list"] as? [[String: Any]] ?? []
        #expect(variables.compactMap { $0["name"] as? String } == ["datasource", "instance"])
    }
}
