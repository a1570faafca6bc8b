// keybroker policy explain, as an admin types it: who may have which key, and why not.

import TestSupport
import Testing

struct PolicyExplainTests {
    private let folder = TemporaryFolder("explain")

    private func policy(_ arguments: [String]) throws -> (status: Int32, output: String, errors: String) {
        try runOnSmallPolicy(arguments, in: folder)
    }

    @Test func explain() throws {
        let granted = try policy(["explain", "--user", "61001", "--key", "web"])
        #expect(granted.status == 0)
        #expect(
            granted.output.hasPrefix(
                "permitted: 61001 may have web\n  p:2: permit 61001 key web\n  key now: \(folder["key"]), 3 bytes, of 2"
            ),
            "\(granted.output)")
        let denied = try policy(["explain", "--user", "61002", "--unit", "x.service", "--key", "web"])
        #expect(denied.status == 77)
        #expect(
            denied.output == """
                denied: no line permits web to 61002 in x.service
                  p:3: permit 61002 unit w@*.service key web
                      the unit is x.service, not w@*.service
                  p:2: permit 61001 key web
                      another user than 61002

                """)
        #expect(try policy(["explain", "--user", "61002", "--unit", "w@1.service", "--key", "web"]).status == 0)
        #expect(try policy(["explain"]).status == 64)
        #expect(try policy(["explain", "--user", "61002", "--key", "wbe"]).output.contains("did you mean 'web'?"))
        #expect(try policy(["explain", "--user", "no-such-user", "--key", "web"]).status == 64)
        #expect(try policy(["explain", "--user", "4294967295", "--key", "web"]).status == 64)
        #expect(try policy(["explain", "--user", "61001", "--key", "NO"]).status == 64)
    }

    /// What a user or a unit may have, and who may have a key, as `sudo -l` answers.
    @Test func explainOneOfThem() throws {
        func words(_ arguments: String...) throws -> (Int32, [String]) {
            let result = try policy(["explain"] + arguments)
            let lines = result.output.split(separator: "\n").map { $0.split(separator: " ").joined(separator: " ") }
            return (result.status, lines)
        }
        #expect(
            try words("--key", "web") == (
                0, ["web may be had by:", "who in line", "61001 any unit p:2", "61002 w@*.service p:3"]
            ))
        #expect(
            try words("--user", "61002") == (
                0, ["61002 may have:", "key in line by", "web w@*.service p:3 permit 61002 unit w@*.service key web"]
            ))
        #expect(
            try words("--unit", "w@1.service") == (
                0,
                [
                    "w@1.service may have:", "key in line by",
                    "web w@*.service p:3 permit 61002 unit w@*.service key web",
                ]
            ))
        #expect(try words("--user", "61002", "--unit", "w@1.service").0 == 0)
        #expect(
            try words("--user", "61002", "--unit", "x.service") == (
                77, ["denied: 61002 in x.service may have no key: no line permits one"]
            ))
        #expect(try words("--user", "61009") == (77, ["denied: 61009 may have no key: no line permits one"]))
        #expect(try words("--unit", "x.service").0 == 77)
        #expect(try words("--key", "wbe") == (77, ["denied: there is no key 'wbe'; did you mean 'web'?"]))
        #expect(try policy(["explain", "--user", "no-such-user"]).errors.contains("there is no user 'no-such-user'"))
        let objects = try policy(["explain", "--user", "61002", "--format", "json"])
        #expect(
            objects.output == #"{"key":"web","permitted":"61002","unit":"w@*.service","line":"p:3"}"# + "\n")
        // A program gets no object, and its person the reason.
        for (more, reason) in [
            (["--user", "61009", "--key", "web"], "no line permits web to 61009"),
            (["--user", "61009", "--key", "web", "--sign"], "no line permits signatures of web to 61009"),
            (["--user", "61009", "--key", "wbe"], "there is no key 'wbe'; did you mean 'web'?"),
            (["--key", "wbe"], "there is no key 'wbe'; did you mean 'web'?"),
            (["--user", "61009"], "61009 may have no key: no line permits one"),
        ] {
            let denied = try policy(["explain", "--format", "json"] + more)
            #expect(denied.status == 77 && denied.output.isEmpty, "\(more)")
            #expect(denied.errors == "keybroker: denied: \(reason)\n", "\(more)")
        }
        #expect(try policy(["explain", "--user", "61009", "--status", "--format", "json"]).status == 64)
    }

    @Test func explainForAUnit() throws {
        try folder.write("u", "key web \(folder["key"])\npermit unit:w@*.service key web\npermit 61001 key web\n")
        func explain(_ unit: String) throws -> (status: Int32, output: String) {
            try folder.write("key", "KEY", mode: 0o600)
            let result = try Program.run(
                Program.built("keybroker"), ["policy", "explain", "--unit", unit, "--key", "web", "--policy", "u"],
                directory: folder.path)
            return (result.status, result.output)
        }
        let granted = try explain("w@1.service")
        #expect(granted.status == 0)
        #expect(
            granted.output.hasPrefix("permitted: w@1.service may have web\n  u:2: permit unit:w@*.service key web\n"))
        let denied = try explain("x.service")
        #expect(denied.status == 77)
        #expect(
            denied.output == """
                denied: no line permits web to x.service
                  u:2: permit unit:w@*.service key web
                      the unit is x.service, not w@*.service
                  u:3: permit 61001 key web
                      only for a user or a group; name a user with --user

                """)
    }

    /// A pattern would match a name that no unit can have.
    @Test func aUnitThatCannotBeIsRefused() throws {
        for (unit, fault) in [
            ("w.timer", "a unit that holds processes is named NAME.service or NAME.scope"),
            ("nginx", "a unit that holds processes is named NAME.service or NAME.scope; did you mean 'nginx.service'?"),
            ("w*", "* stands for many units; name one of them"),
            ("w foo", #"a unit name is made of letters, digits and : _ . \ @ -"#),
        ] {
            for more in [["--key", "web"], ["--status"], ["--user", "61002"], []] {
                let explained = try policy(["explain", "--unit", unit] + more)
                #expect(explained.status == 64 && explained.output.isEmpty, "\(unit) \(more)")
                #expect(explained.errors == "keybroker: --unit: no unit has the name '\(unit)': \(fault)\n", "\(more)")
            }
            #expect(try policy(["show", "--unit", unit]).status == 64)
        }
    }

    /// A line may permit to a user in a unit what is excluded elsewhere.
    @Test func whatIsExcludedOutsideOfAUnitIsPermittedInIt() throws {
        try folder.write("key", "KEY", mode: 0o600)
        let never = "never anyone key web unless 61001 unit:web.service unit:w@*.service"
        try folder.write("n", "key web \(folder["key"])\n\(never)\npermit 61002 unit web.service key web\n")
        func explain(_ more: String...) throws -> (status: Int32, output: String) {
            let result = try Program.run(
                Program.built("keybroker"), ["policy", "explain", "--key", "web", "--policy", "n"] + more,
                directory: folder.path)
            return (result.status, result.output)
        }
        let anywhere = try explain("--user", "61002")
        #expect(anywhere.status == 77)
        #expect(
            anywhere.output == """
                denied: no line permits web to 61002
                  n:3: permit 61002 unit web.service key web
                      only in web.service; name one with --unit
                  n:2: \(never)
                      so no line can permit it, except in web.service or w@*.service

                """)
        #expect(try explain("--user", "61002", "--unit", "web.service").status == 0)
        let elsewhere = try explain("--user", "61002", "--unit", "x.service")
        #expect(elsewhere.output.hasSuffix("\n      so no line can permit it\n"), "\(elsewhere.output)")
        #expect(try explain("--unit", "x.service").output.hasSuffix("\n      so no line can permit it\n"))
        // In a unit that is excepted no line excludes it.
        #expect(try !explain("--user", "61003", "--unit", "w@1.service").output.contains("never"))
    }

    /// What is permitted need not be there.
    @Test func explainSaysWhatThereIsNow() throws {
        try folder.write("real", "CERTIFICATE")
        try folder.link("certificate", to: folder["real"])
        try folder.write("c", "key web \(folder["key"]) certificate \(folder["certificate"])\npermit 61001 key web\n")
        func explain() throws -> String {
            let result = try Program.run(
                Program.built("keybroker"),
                ["policy", "explain", "--user", "61001", "--key", "web", "--policy", folder["c"]])
            #expect(result.status == 0, "\(result.errors)")
            return result.output
        }
        let missing = try explain()
        #expect(
            missing.contains("  key now: nothing would be handed out: \(folder["key"]) does not exist"), "\(missing)")
        #expect(missing.contains("  certificate now: \(folder["real"]), 11 bytes, of "), "\(missing)")
        try folder.write("key", "KEY", mode: 0o666)
        #expect(try explain().contains("  key now: nothing would be handed out: \(folder["key"]) "))
        try folder.write("key", "", mode: 0o600)
        #expect(try explain().contains("  key now: \(folder["key"]), empty, of "))
    }
}
