// The broker's status as OpenMetrics text, which is also Prometheus text (format 0.0.4). It is for a scrape, or for the
// textfile collector of node_exporter.
//
// The two formats need different declarations of counters, and each refuses the other's. So counters have no
// declaration, which both accept. Must never give a metric a name or label that depends on what callers ask for.

internal import Wire

extension BrokerStatus {
    /// The lines. The last one is `# EOF`.
    var openMetrics: [String] {
        var lines: [String] = []
        func add(_ name: String, _ help: String, isGauge: Bool = true, _ samples: [(labels: String, value: String)]) {
            guard !samples.isEmpty else { return }
            lines.append("# HELP keybroker_\(name) \(help)")
            if isGauge { lines.append("# TYPE keybroker_\(name) gauge") }
            if isGauge, name.hasSuffix("_seconds") { lines.append("# UNIT keybroker_\(name) seconds") }
            lines += samples.map { "keybroker_\(name)\($0.labels) \($0.value)" }
        }
        func gauge(_ name: String, _ help: String, _ value: String?) {
            add(name, help, value.map { [("", $0)] } ?? [])
        }
        func flag(_ name: String, _ help: String, _ isSet: Bool?) { gauge(name, help, isSet.map { $0 ? "1" : "0" }) }
        func number(_ line: StatusName) -> String? { self.number(line).map(String.init) }

        add(
            "build_info", "The version of the running daemon.",
            value(.version).map { [(labels(("version", $0)), "1")] } ?? [])
        gauge("uptime_seconds", "How long the daemon has run.", number(.uptimeSeconds))
        add(
            "policy_info", "The SHA-256 of the policy in force.",
            value(.policy).map { [(labels(("sha256", $0)), "1")] } ?? [])
        flag("policy_in_force", "Whether a policy is in force.", value(.policyState).map { $0 == "in-force" })
        gauge("policy_age_seconds", "How long the policy has been in force.", number(.policyAgeSeconds))
        gauge("policy_keys", "Keys that the policy declares.", number(.policyKeys))
        gauge(
            "policy_permits", "Permissions that the policy gives, one for each key of a line.", number(.policyPermits)
        )
        gauge(
            "policy_missing_accounts", "Accounts that lines of the policy name and that are not found.",
            number(.missingAccounts))
        flag(
            "policy_reload_successful", "Whether the last reload was applied.",
            value(.lastReload).map { $0 != "rejected" })
        add(
            "policy_reloads_total", "Reloads since the start.", isGauge: false,
            [("applied", StatusName.reloadsApplied), ("rejected", .reloadsRejected)].compactMap { outcome, line in
                number(line).map { (labels(("outcome", outcome)), $0) }
            })
        flag("policy_reload_running", "Whether the policy is being read anew.", value(.reload).map { $0 == "running" })
        gauge(
            "policy_reload_running_seconds", "How long the policy has been being read.", number(.reloadSeconds))
        gauge("connections", "Connections now.", number(.connections))
        gauge("watches", "Connections that watch a key.", number(.watches))
        // Where there is no signer, none is missed.
        flag(
            "signer_up", "Whether the process that signs runs.",
            value(.signer).flatMap { $0 == "none" ? nil : $0 == "running" })
        gauge("channels", "Open signing channels.", number(.channels))
        gauge("connections_limit", "Connections that there may be at a time.", number(.connectionsMost))
        gauge(
            "oldest_waiting_request_seconds", "How long the request has waited that waits longest.",
            self.number(.oldestWaitingMilliseconds).map { "\(Double($0) / 1000)" })
        flag("audit_writable", "Whether the audit log can be written.", value(.audit).map { $0 == "written" })
        gauge("audit_sequence", "The number of the last record in the audit log.", number(.auditSeq))
        add(
            "sandbox_wall", "Whether each wall stands that the daemon puts around itself.",
            layers.map { (labels(("wall", $0.name)), $0.state.hasPrefix("missing") ? "0" : "1") })
        gauge("keys_outside_sandbox", "Keys that cannot be handed out until a restart.", number(.outsideSandboxKeys))
        add(
            "requests_total", "Requests since the start, by what was decided and why.", isGauge: false,
            outcomes.map {
                (labels(("verb", $0.verb ?? ""), ("decision", $0.decision), ("reason", $0.reason)), String($0.count))
            })
        add(
            "key_requests_total", "Requests for each key since the start.", isGauge: false,
            keys.flatMap { key in
                key.counts.map { (labels(("key", key.name), ("decision", $0.decision)), String($0.count)) }
            })
        return lines + ["# EOF"]
    }

    /// Values are printable ASCII, so only quotes and backslashes need escaping.
    private func labels(_ pairs: (String, String)...) -> String {
        let written = pairs.map { name, value in
            let escaped = value.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : String($0) }.joined()
            return "\(name)=\"\(escaped)\""
        }
        return "{\(written.joined(separator: ","))}"
    }
}
