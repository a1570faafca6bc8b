// The clients in other languages, under accounts of their own, with the real daemon.

import Foundation
import TestSupport
import Testing

@Suite struct DaemonTests {
    private let folder = TemporaryFolder("languages-daemon")
    private static let uid: UInt32 = 61010

    private var caller: UInt32 { isRoot ? Self.uid : geteuid() }

    private func daemon(_ more: String = "") throws -> Daemon {
        try folder.write("key", "THE KEY", mode: 0o600)
        try folder.write("crt", "THE CERTIFICATE")
        let policy =
            "key k \(folder["key"]) certificate \(folder["crt"])\nkey bare \(folder["key"])\nkey gone \(folder["no"])\n"
        return try Daemon(folder, policy: policy + "permit \(caller) key k bare gone\n" + more)
    }

    @Test(arguments: Language.installedOnes) func aKeyAndItsCertificate(_ language: Language) throws {
        let daemon = try daemon()
        func run(_ arguments: [String], uid: UInt32? = nil) throws -> (Int32, String) {
            let program = try language.start(arguments, socket: daemon.socket, uid: isRoot ? uid ?? caller : nil)
            return (try program.waitForExit(), program.text() + program.text(.error))
        }
        #expect(try run(["get", "k", "0"]) == (0, "k 1 0: THE KEY\nTHE CERTIFICATE\n"))
        #expect(try run(["get", "bare", "0"]) == (0, "bare 1 0: THE KEY\nno certificate\n"))
        #expect(try run(["list", "0"]) == (0, "bare\ngone\nk\n"))
        let gone = try run(["get", "gone", "0"])
        #expect(gone.0 == 75 && gone.1.contains("cannot be handed over now: file-missing"), "\(gone)")
        let denied = try run(["get", "other", "0"])
        #expect(denied.0 == 77 && denied.1.hasPrefix("key 'other': not permitted (decision "), "\(denied)")
        if isRoot {
            let stranger = try run(["get", "k", "0"], uid: 61011)
            #expect(stranger.0 == 77 && stranger.1.hasPrefix("key 'k': not permitted"), "\(stranger)")
        }
    }

    @Test(arguments: Language.installedOnes) func aSocketThatTheCallerMayNotUse(_ language: Language) throws {
        guard isRoot else { return print("skipped: needs root") }
        try folder.write("key", "THE KEY", mode: 0o600)
        let daemon = try Daemon(
            folder, policy: "key k \(folder["key"])\npermit \(caller) key k\n", options: ["--socket-mode", "0660"])
        let (status, output) = try language.run("get", "k", "0", socket: daemon.socket, uid: caller)
        #expect(status == 77)
        #expect(
            output == """
                may not connect to \(daemon.socket): this account is not in the socket's group, root; add the account \
                (usermod -aG root ACCOUNT), or give its unit SupplementaryGroups=root; either counts from the next login \
                or service start

                """)
        let said = try Program.run(
            installed("setpriv") ?? "setpriv",
            [
                "--reuid", "\(caller)", "--regid", "\(caller)", "--clear-groups", Program.built("keybroker"), "get",
                "k",
                "--socket", daemon.socket,
            ])
        #expect(said.status == 77 && said.errors == "keybroker: " + output, "\(said)")
        try folder.setAttributes("run/broker.sock", mode: 0o660)
        try folder.shell("chgrp 61999 run/broker.sock")
        #expect(
            try language.run("get", "k", "0", socket: daemon.socket, uid: caller).1.contains(
                "SupplementaryGroups=61999;"))
    }

    @Test(arguments: Language.installedOnes) func aBusyBrokerIsWaitedFor(_ language: Language) throws {
        let daemon = try daemon("limit \(caller) requests 2\n")
        var (status, output): (Int32, String) = (0, "")
        for _ in 0..<20 where status == 0 {
            let clients = try (0..<4).map { _ in
                try language.start(["get", "k", "0"], socket: daemon.socket, uid: isRoot ? caller : nil)
            }
            for client in clients where try client.waitForExit() != 0 { (status, output) = (75, client.text()) }
        }
        #expect(output.hasPrefix("the broker is busy (decision "), "\(output)")
        let patient = try language.run("get", "k", "10000", socket: daemon.socket, uid: isRoot ? caller : nil)
        #expect(patient == (0, "k 1 0: THE KEY\nTHE CERTIFICATE\n"))
    }

    @Test(arguments: Language.installedOnes) func aBrokerThatIsStillStartingIsWaitedFor(_ language: Language) throws {
        let client = try language.start(
            ["get", "k", "20000"], socket: folder["run/broker.sock"], uid: isRoot ? caller : nil)
        let daemon = try daemon()
        #expect(try client.waitForExit(seconds: 40) == 0)
        #expect(client.text() == "k 1 0: THE KEY\nTHE CERTIFICATE\n")
        try daemon.stop()
    }

    /// A key that is renamed into place, a broker that restarts, a key that changes meanwhile, a permission that goes.
    @Test(arguments: Language.installedOnes) func rotationsAreWatched(_ language: Language) throws {
        let daemon = try daemon()
        let client = try language.start(
            ["watch", "bare", "20000", "9"], socket: daemon.socket, uid: isRoot ? caller : nil)
        #expect(try client.nextLine() == "bare 1 0: THE KEY")
        #expect(try client.nextLine() == "no certificate")
        try folder.write("new", "THE SECOND KEY", mode: 0o600)
        try folder.shell("mv new key")
        #expect(try client.nextLine() == "bare 1 1: THE SECOND KEY")
        #expect(try client.nextLine() == "no certificate")

        try daemon.kill()
        try folder.write("new", "THE THIRD KEY", mode: 0o600)
        try folder.shell("mv new key")
        try daemon.restart()
        if language != .python { #expect(try client.nextLine() == "again") }
        #expect(try client.nextLine() == "bare 1 0: THE THIRD KEY")
        #expect(try client.nextLine() == "no certificate")

        try folder.write("policy", "key bare \(folder["key"])\n")
        _ = try daemon.reload()
        #expect(try client.waitForExit() == 77)
        let last = try #require(client.lines().last)
        #expect(last.hasPrefix("key 'bare': not permitted (decision "), "\(last)\(client.text(.error))")
    }

    @Test(.enabled(if: installed("python3") != nil, "python3 is missing"))
    func anEventLoopOfPythonsWatches() throws {
        let daemon = try daemon()
        let client = try Language.python.start(
            ["loop", "bare", "2"], socket: daemon.socket, uid: isRoot ? caller : nil)
        #expect(try client.nextLine() == "bare 1 0: THE KEY")
        #expect(try client.nextLine() == "no certificate")
        try folder.write("new", "THE SECOND KEY", mode: 0o600)
        try folder.shell("mv new key")
        #expect(try client.nextLine() == "bare 1 1: THE SECOND KEY")
        #expect(try client.waitForExit() == 0)
        #expect(client.lines().count == 4, "\(client.text())\(client.text(.error))")
    }

    /// A program with more rights than its caller must not be led to a broker of its caller's.
    @Test(
        .enabled(if: isRoot, "needs root: a set-group-ID program"),
        .enabled(if: obeysSetGroupID, "/tmp is mounted nosuid, so that no program there has more rights"),
        arguments: ["c", "go"])
    func theEnvironmentOfASetGroupIDProgramIsNotBelieved(_ language: String) throws {
        guard language == "c" ? installed("cc") != nil : GoClient.isPossible else {
            return print("skipped: no compiler")
        }
        let program = language == "c" ? try Language.c.command()[0] : try GoClient.program.get()
        let arguments = language == "c" ? ["get", "k", "0"] : ["k", "-"]
        let daemon = try daemon()
        try folder.shell("cp '\(program)' client && chown 0:61013 client && chmod 2755 client")
        let (_, output, errors) = try Program.run(
            installed("setpriv") ?? "setpriv",
            ["--reuid=\(caller)", "--regid=\(caller)", "--clear-groups", folder["client"]] + arguments,
            environment: Language.environment(daemon.socket))
        // The system's broker, if there is one, knows no such key.
        let said = output + errors
        #expect(said.contains("/run/keybroker/broker.sock") || said.contains("not permitted"), "\(said)")
        #expect(!said.contains("THE KEY"))
    }
}

/// Whether the kernel obeys the set-group-ID bit in temporary folders.
private var obeysSetGroupID: Bool {
    var status = statvfs()
    // Safety: the call reads a NUL-terminated string and fills the one struct.
    return unsafe statvfs("/tmp", &status) == 0 && status.f_flag & UInt(ST_NOSUID) == 0
}
