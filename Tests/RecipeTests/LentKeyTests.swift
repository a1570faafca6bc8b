// The recipes of keybroker-recipes(7) for keys that stay with the broker, followed as they stand there: the service shows
// its certificate, and signs with a key that it never gets.
//
// Must never have a recipe of its own, nor wait for a fixed time.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, .enabled(if: isRoot, "needs root: it boots a systemd in a container")) struct LentKeyTests {
    /// The recipe for a client.
    static let client = "curl, with a key that stays"

    private static let shared = Result {
        let shop = try Shop()
        try shop.take(shop.page.lentCommon)
        return shop
    }
    private let shop: Shop

    init() throws { shop = try Self.shared.get() }

    @Test(arguments: Trial.lent) func aServiceSignsWithoutItsKey(_ trial: Trial) throws {
        guard trial.isInstalled else { return }
        let (machine, recipe) = (shop.machine, try shop.recipe(trial.recipe))
        let unit = try #require(recipe.unit)
        do { try follow(recipe, trial, unit) } catch {
            let journal = try machine.run("journalctl --sync; journalctl -q -n 30 -o cat -u \(unit)").output
            try machine.must("systemctl stop \(unit)")
            throw Waited(description: "\(error)\n\(journal)")
        }
        try machine.must("systemctl stop \(unit)")
        #expect(try machine.property("Result", of: unit) == "success")
    }

    private func follow(_ recipe: Recipe, _ trial: Trial, _ unit: String) throws {
        let machine = shop.machine
        let files = try shop.files("web-tls", of: recipe)
        let handshake = Shop.handshake(trial, files.certificate)
        if let port = trial.backend {
            try machine.must(
                "systemd-run --quiet --collect --unit=backend python3 -m http.server --directory /var/www/html \(port)")
        }
        defer { if trial.backend != nil { _ = try? machine.must("systemctl stop backend.service") } }
        try shop.follow(recipe)
        try machine.wait(until: handshake)

        // Who asked, who serves, and that nobody has the key.
        let grant = try #require(try machine.records().last { $0["verb"] as? String == "sign" })
        #expect(grant["decision"] as? String == "granted" && grant["unit"] as? String == unit, "\(grant)")
        #expect(grant["uses"] as? String == "tls-server")
        #expect(try shop.processes(unit).contains { $0.account == trial.account })
        #expect(try shop.readable(unit).isEmpty)
        #expect(try shop.copies(of: files.key).isEmpty)

        // The next keys, of all kinds, and each process of the service.
        let main = try machine.property("MainPID", of: unit)
        for kind in ["rsa:2048", "ed25519", "ec -pkeyopt ec_paramgen_curve:prime256v1"] {
            try machine.must(Shop.make("next web-tls", files.key, files.certificate, kind: kind))
            try machine.must("systemctl reload \(unit)")
            try machine.wait(until: handshake)
        }
        #expect(try machine.property("MainPID", of: unit) == main)
        try machine.must("for ((i = 0; i < 8; i++)); do \(handshake); done")
        let processes = try shop.processes(unit).map(\.pid)
        #expect(!processes.isEmpty)
        #expect(try holders(of: files.key, among: processes).isEmpty)
        // The process that signs has it, so it is found where it is.
        let signers = try machine.must("pgrep -f keybroker-signer").split(separator: "\n").compactMap { Int($0) }
        #expect(try holders(of: files.key, among: signers).count == 1)

        // The channels end with the daemon, and the next handshakes have new ones.
        try machine.must("systemctl restart keybrokerd.service")
        try machine.wait(until: handshake)

        // A permission that ends: not one handshake more.
        let policy = try #require(policyFile(of: recipe))
        try machine.must("mv \(policy) /run/policy; keybroker reload")
        _ = try machine.mustFail(handshake)
        // Where each connection has a process with a channel of its own, there may be none that ends: then one is refused.
        try machine.wait(
            until: "tail -n 20 /var/log/keybroker/audit.jsonl | "
                + "grep -E '\"event\":\"channel\"|\"verb\":\"sign\"' | grep -q no-rule")
        try machine.must("mv /run/policy \(policy); keybroker reload; systemctl reload \(unit)")
        try machine.wait(until: handshake)
        try machine.must("rm \(policy); keybroker reload")
    }

    /// The processes whose memory has the number that is the private half of an EC key, in either order of bytes.
    private func holders(of key: String, among processes: [Int]) throws -> [Int] {
        let script = """
            import re, subprocess, sys
            text = subprocess.run(["openssl", "pkey", "-noout", "-text", "-in", sys.argv[1]], capture_output=True, text=True).stdout
            number = bytes.fromhex(re.sub("[^0-9a-f]", "", re.search("priv:([^p]*)pub:", text).group(1)))[-32:]
            for pid in sys.argv[2:]:
                found = False
                with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
                    for line in maps:
                        start, end = (int(place, 16) for place in line.split()[0].split("-"))
                        try:
                            memory.seek(start)
                            content = memory.read(end - start)
                        except (OSError, OverflowError, ValueError):
                            continue
                        found = found or number in content or number[::-1] in content
                if found:
                    print(pid)
            """
        let numbers = processes.map(String.init).joined(separator: " ")
        return try shop.machine.must("python3 - \(key) \(numbers) <<'SCRIPT'\n\(script)\nSCRIPT")
            .split(separator: "\n").compactMap { Int($0) }
    }

    private func policyFile(of recipe: Recipe) -> String? {
        for case .file(let path, _, _) in recipe.steps where path.hasPrefix("/etc/keybroker/") { return path }
        return nil
    }

    @Test(.enabled(if: installed("curl") != nil, "curl is not installed")) func aClientSignsWithoutItsKey() throws {
        try shop.tryClient(try shop.recipe(Self.client))
    }
}
