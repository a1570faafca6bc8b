// Each recipe of keybroker-recipes(7), followed as it stands there on a machine with a real systemd and the service of
// Debian: it serves with a key that only the broker can read, and takes the next one without anybody's doing.
//
// Must never have a recipe of its own, nor wait for a fixed time.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, .enabled(if: isRoot, "needs root: it boots a systemd in a container")) struct RecipeTests {
    private static let shared = Result { try Shop() }
    let shop: Shop

    init() throws { shop = try Self.shared.get() }

    @Test(arguments: Trial.all) func aServiceHasItsKeyFromTheBrokerAlone(_ trial: Trial) throws {
        guard trial.isInstalled else { return }
        let (machine, recipe) = (shop.machine, try shop.recipe(trial.recipe))
        let unit = try #require(recipe.unit)
        let permit = try #require(recipe.permit)
        let files = try shop.files("web-tls", of: recipe)
        do {
            try shop.follow(recipe)
            try machine.wait(until: Shop.handshake(trial, files.certificate))

            // Who asked, who serves, and where the key is.
            let grant = try #require(
                try machine.records().last { $0["decision"] as? String == "granted" && $0["key"] != nil })
            #expect(grant["unit"] as? String == unit)
            #expect(permit.account == "unit:\(unit)" || grant["user"] as? String == permit.account)
            #expect(
                try shop.processes(unit).contains {
                    $0.account == trial.account && !$0.command.contains("keybroker exec")
                })
            #expect(try shop.copies(of: files.key).isEmpty)

            // The key is open in the service, and another account cannot open it there.
            let readable = try shop.readable(unit)
            #expect(!readable.isEmpty)
            for path in readable { _ = try machine.mustFail(Machine.asUser("games", "cat \(path)")) }

            // The account has it in that unit alone.
            let account = permit.unit == nil ? "root" : permit.account
            #expect(try machine.mustFail(Machine.asUser(account, "keybroker get web-tls")).status == 77)

            // The next key.
            let main = try machine.property("MainPID", of: unit)
            try machine.must(Shop.make("next web-tls", files.key, files.certificate))
            if trial.renewal == .isRestartedByHand { try machine.must("systemctl restart \(unit)") }
            try machine.wait(until: Shop.handshake(trial, files.certificate))
            #expect(try shop.copies(of: files.key).isEmpty)
            #expect(try (machine.property("MainPID", of: unit) == main) == (trial.renewal == .reads))
            #expect(try (machine.property("NRestarts", of: unit) == "1") == (trial.renewal == .isStartedAnew))

            // A reload of the admin's.
            if try machine.property("CanReload", of: unit) == "yes" {
                try machine.must("systemctl reload \(unit)")
                try machine.wait(until: "[[ $(systemctl is-active \(unit)) = active ]]")
                try machine.wait(until: Shop.handshake(trial, files.certificate))
            }
        } catch {
            let journal = try machine.run("journalctl --sync; journalctl -q -n 30 -o cat -u \(unit)").output
            try machine.must("systemctl stop \(unit)")
            throw Waited(description: "\(error)\n\(journal)")
        }
        try machine.must("systemctl stop \(unit)")
        #expect(try machine.property("Result", of: unit) == "success")
    }
}
