// What an admin meets in the first hour on a machine with systemd: whose keys are handed out, a reload that was forgotten,
// a socket that is not started. The tools must say what the daemon does.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, Machine.condition) struct FirstHourTests {
    let machine: Machine

    private static let shared = Result {
        let machine = try Machine()
        try machine.install(policy: "permit www-data key web")
        return machine
    }

    init() throws {
        machine = try Self.shared.get()
        try machine.policy("permit www-data key web")
        try machine.must("systemctl stop keybrokerd.service; systemctl start keybrokerd.socket")
    }

    private let get = Machine.asUser("www-data", "keybroker get web")
    private let explain = "keybroker policy explain --user www-data --key web"

    /// The daemon trusts its own account, too. The tools judge as it does.
    @Test func theAccountsOwnKeys() throws {
        try machine.must("chown keybroker /etc/ssl/private/web.pem")
        #expect(try machine.must(get) == "THE KEY")
        let check = try machine.run("keybroker policy check --strict 2>&1")
        #expect(check.status == 0, "\(check.output)")
        #expect(try machine.must(explain).contains("key now: /etc/ssl/private/web.pem, 8 bytes"))
        // Another one's are refused, and both say so.
        try machine.must("chown games /etc/ssl/private/web.pem")
        #expect(try machine.mustFail(get).status == 75)
        let numbers = try machine.must("echo $(id -u games) $(id -u keybroker)").split(separator: " ")
        let detail = try #require(try machine.records().last?["detail"] as? String)
        #expect(
            detail == "/etc/ssl/private/web.pem belongs to uid \(numbers[0]), not to root or uid \(numbers[1])")
        let said =
            "/etc/ssl/private/web.pem belongs to games(\(numbers[0])), not to root or keybroker(\(numbers[1])); "
            + "type: chown root: /etc/ssl/private/web.pem"
        #expect(try machine.must("keybroker policy check 2>&1").contains(said))
        #expect(try machine.must(explain).contains(said))
        try machine.must("chown root: /etc/ssl/private/web.pem")
        #expect(try machine.must(get) == "THE KEY")
    }

    @Test func aForgottenReloadIsSaid() throws {
        let said = "the daemon has another policy in force; type: keybroker reload"
        try machine.policy("permit games key web")
        // A check starts no daemon.
        #expect(try !machine.must("keybroker policy check 2>&1").contains("in force;"))
        #expect(try machine.property("ActiveState") == "inactive")
        try machine.must("systemctl start keybrokerd.service")
        try machine.policy("permit www-data key web")
        #expect(try machine.mustFail(get).status == 77)
        #expect(try machine.must("keybroker policy check 2>&1").contains(said))
        #expect(try machine.must("\(explain) 2>&1").contains(said))
        #expect(try machine.must("keybroker status").contains("the files have another policy; type: keybroker reload"))
        // Whoever may not ask is not told, and no refusal is recorded.
        let asUser = Machine.asUser("www-data", explain)
        #expect(try !machine.must("\(asUser) 2>&1").contains(said))
        #expect(try machine.records().last?["decision"] as? String == "granted")
        try machine.must("keybroker reload")
        #expect(try machine.must(get) == "THE KEY")
        for command in ["keybroker policy check 2>&1", "\(explain) 2>&1", "keybroker status"] {
            #expect(try !machine.must(command).contains("another policy"))
        }
    }

    /// A user's own broker that was started before its policy had a directory. A reload cannot help, and what helps is said.
    @Test func aBrokerWithoutADirectoryIsStartedAgain() throws {
        try machine.must(
            """
            id somebody >/dev/null 2>&1 || useradd --create-home --uid 61500 somebody
            install -d -m 700 -o somebody /run/user/61500
            systemctl start user@61500.service
            """)
        let user =
            "setpriv --reuid somebody --regid somebody --clear-groups env -C / HOME=/home/somebody "
            + "XDG_RUNTIME_DIR=/run/user/61500 KEYBROKER_SOCKET=/run/user/61500/keybroker/broker.sock"
        try machine.must("\(user) systemctl --user enable --now keybrokerd.socket")
        let said = "type: systemctl --user restart keybrokerd"
        let status = try machine.run("\(user) keybroker status")
        #expect(status.status == 78)
        #expect(status.output.contains(said) && status.errors.contains(said), "\(status)")
        try machine.must(
            """
            \(user) mkdir -p /home/somebody/.config/keybroker
            printf 'key mine /home/somebody/mine.pem\\npermit somebody key mine\\n' >/run/mine
            \(user) sh -c 'cat /run/mine >$HOME/.config/keybroker/keybroker.policy; echo MINE >$HOME/mine.pem'
            """)
        let reload = try machine.mustFail("\(user) keybroker reload")
        #expect(reload.status == 78 && reload.errors.contains(said), "\(reload.errors)")
        try machine.must("\(user) systemctl --user restart keybrokerd")
        #expect(try machine.must("\(user) keybroker get mine") == "MINE")
        try machine.must("systemctl stop user@61500.service")
    }

    @Test func aSocketThatIsNotStartedIsNamed() throws {
        try machine.must("systemctl stop keybrokerd.socket")
        let refused = try machine.mustFail("keybroker get web")
        #expect(refused.status == 69)
        #expect(refused.errors.hasSuffix("; here: systemctl enable --now keybrokerd.socket\n"), "\(refused.errors)")
    }
}
