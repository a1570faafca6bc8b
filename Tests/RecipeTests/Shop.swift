// The machine that the recipes are tried on: a real systemd, the broker's package, and keys that only the broker can
// read.
//
// Must never put a key where a service could find it by itself.

import Foundation
import TestSupport

struct Shop {
    let machine: Machine
    let page: RecipePage

    /// Boots a machine and does what the page says once for all recipes.
    init() throws {
        page = try RecipePage()
        machine = try Machine()
        try machine.install()
        // Only the page's lines permit anything.
        try machine.write("/etc/keybroker/keybroker.policy", "")
        try machine.must("echo '127.0.0.1 example.org' >>/etc/hosts; touch /run/began")
        for case .file(let path, let text, let isAdded) in page.common { try write(path, text, isAdded: isAdded) }
        // A web page that some of the recipes serve.
        try machine.write("/var/www/html/index.html", "served\n")
    }

    func recipe(_ name: String) throws -> Recipe {
        guard let recipe = (page.recipes + page.lent).first(where: { $0.name == name }) else {
            throw Waited(description: "the page has no recipe \(name)")
        }
        return recipe
    }

    /// Does what a recipe says, and then what the page says to do after each of them. That starts the service.
    func follow(_ recipe: Recipe) throws {
        try take(recipe.steps)
        for case .rootCommands(let lines) in page.common {
            for line in lines where recipe.unit != nil || !line.contains("UNIT") {
                try machine.must(line.replacing("UNIT", with: recipe.unit ?? ""))
            }
        }
    }

    /// Does what the page says for root.
    func take(_ steps: [Recipe.Step]) throws {
        for step in steps {
            switch step {
            case .file(let path, let text, let isAdded): try write(path, text, isAdded: isAdded)
            case .rootCommands(let lines): try machine.must("export HOME=/run\n" + lines.joined(separator: "\n"))
            case .commands: break
            }
        }
    }

    private func write(_ path: String, _ text: String, isAdded: Bool) throws {
        for key in text.matches(of: #/(?m)^key (\S+) (\S+) certificate (\S+)$/#) where path.hasPrefix("/etc/keybroker/")
        {
            try machine.must(Self.make("first \(key.1)", String(key.2), String(key.3)))
        }
        let operation = isAdded ? ">>" : ">"
        let encoded = Data(text.utf8).base64EncodedString()
        try machine.must("mkdir -p $(dirname \(path)); base64 -d <<<'\(encoded)' \(operation)\(path)")
    }

    // MARK: Keys

    /// A script that makes a key of root and its certificate, and puts them in place by renaming.
    static func make(
        _ name: String, _ key: String, _ certificate: String, kind: String = "ec -pkeyopt ec_paramgen_curve:prime256v1"
    ) -> String {
        """
        (umask 077; openssl req -x509 -newkey \(kind) -nodes -days 2 \
            -subj '/CN=\(name)' -addext subjectAltName=DNS:example.org -keyout \(key).new -out \(certificate).new)
        chmod 644 \(certificate).new
        mv \(key).new \(key)
        mv \(certificate).new \(certificate)
        """
    }

    /// The files of a key of the page.
    func files(_ name: String, of recipe: Recipe) throws -> (key: String, certificate: String) {
        for case .file(_, let text, _) in page.common + recipe.steps {
            for line in text.matches(of: #/(?m)^key (\S+) (\S+) certificate (\S+)$/#) where line.1 == name {
                return (String(line.2), String(line.3))
            }
        }
        throw Waited(description: "the page has no key \(name)")
    }

    /// A command that succeeds if the service shows this certificate, and has the key that belongs to it.
    static func handshake(_ trial: Trial, _ certificate: String) -> String {
        "openssl s_client -connect 127.0.0.1:\(trial.port) -servername example.org \(trial.startTLS)"
            + " -CAfile \(certificate) -verify_return_error -verify_hostname example.org </dev/null >/dev/null 2>&1"
    }

    /// The files in which a key of the machine's keys is, beside the broker's own, and the processes that show it.
    func copies(of key: String) throws -> String {
        try machine.must(
            """
            line=$(sed -n 2p \(key))
            find /etc /run /srv /tmp /var -xdev -type f -newer /run/began ! -path \(key) -print0 |
                xargs -0 -r grep -lF -e "$line" || true
            grep -lF -e "$line" /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null || true
            """)
    }

    // MARK: Units

    /// The paths at which the processes of a unit can read keys: files in memory that they have open, and credentials.
    func readable(_ unit: String) throws -> [String] {
        let folders = try processes(unit).map { "/proc/\($0.pid)/fd" }.joined(separator: " ")
        return try machine.must(
            """
            find \(folders) -lname '/memfd:*' 2>/dev/null || true
            find /run/credentials/\(unit) -type f 2>/dev/null || true
            """
        ).split(separator: "\n").map(String.init)
    }

    /// The account, number and command line of each process of a unit.
    func processes(_ unit: String) throws -> [(account: String, pid: Int, command: String)] {
        let group = try machine.property("ControlGroup", of: unit)
        return try machine.must("ps -o user:32=,pid=,args= -p $(paste -sd, /sys/fs/cgroup\(group)/cgroup.procs)")
            .split(separator: "\n").compactMap { line in
                let words = line.split(separator: " ", maxSplits: 2)
                guard words.count == 3, let pid = Int(words[1]) else { return nil }
                return (String(words[0]), pid, String(words[2]))
            }
    }
}
