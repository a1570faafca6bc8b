// keybroker get: where a key goes, and what is left where none is granted.

import Foundation
import TestSupport
import Testing

@Suite struct GetTests {
    private let folder = TemporaryFolder("get")

    private func daemon() throws -> Daemon {
        try folder.write("key", "KEY", mode: 0o600)
        try folder.write("certificate", "CERTIFICATE", mode: 0o600)
        try folder.directory("out")
        try folder.write("out/old", "OLD", mode: 0o644)
        return try Daemon(
            folder,
            policy: "key k \(folder["key"]) certificate \(folder["certificate"])\nkey other \(folder["key"])\n"
                + "permit \(geteuid()) key k\n")
    }

    /// Runs the tool under the umask that most accounts have.
    private func get(_ arguments: String, _ daemon: Daemon) throws -> (status: Int32, output: String, errors: String) {
        try Program.run(
            "/bin/sh", ["-c", "umask 022; exec \"$0\" get \(arguments)", Program.built("keybroker")],
            environment: ["KEYBROKER_SOCKET": daemon.socket], directory: folder["out"])
    }

    private func mode(_ name: String) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: folder["out/\(name)"])[.posixPermissions] as? Int
    }

    private func content(_ name: String) throws -> String {
        try String(contentsOf: URL(fileURLWithPath: folder["out/\(name)"]), encoding: .utf8)
    }

    private var names: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: folder["out"]).sorted() }
    }

    @Test func theFileIsNobodyElsesUnderAnyUmask() throws {
        let daemon = try daemon()
        #expect(try get("k --output new", daemon) == (0, "", ""))
        #expect(try content("new") == "KEY")
        #expect(try mode("new") == 0o600)
        #expect(try get("k --output \"$PWD/old\"", daemon).status == 0)
        #expect(try content("old") == "KEY")
        #expect(try mode("old") == 0o600)
        #expect(try get("k --certificate --output certificate", daemon).status == 0)
        #expect(try content("certificate") == "CERTIFICATE")
        #expect(try mode("certificate") == 0o644)
        #expect(try names == ["certificate", "new", "old"])
    }

    /// Runs `get k --output new` under strace, with a fault as it takes it after `inject=`. Returns what strace wrote.
    private func getFailing(_ fault: String, _ daemon: Daemon) throws -> String {
        let strace = try #require(installed("strace"))
        _ = try Program.run(
            strace,
            [
                "-f", "-o", folder["trace"], "-e", "inject=\(fault)", Program.built("keybroker"), "get", "k",
                "--output", "new",
            ],
            environment: ["KEYBROKER_SOCKET": daemon.socket], directory: folder["out"])
        return try folder.text("trace")
    }

    @Test(.enabled(if: installed("strace") != nil, "needs strace"))
    func whoIsKilledBeforeTheFileIsWholeLeavesNoKey() throws {
        let daemon = try daemon()
        let trace = try getFailing("fsync:signal=SIGKILL", daemon)
        #expect(trace.contains("killed by SIGKILL"))
        // On a file system without such files it has a name meanwhile.
        let probe = "import os, sys; os.open(sys.argv[1], os.O_TMPFILE | os.O_WRONLY)"
        if try Program.run(installed("python3") ?? "python3", ["-c", probe, folder["out"]]).status == 0 {
            #expect(try names == ["old"])
        }
        #expect(try content("old") == "OLD")
    }

    @Test(
        .enabled(if: installed("strace") != nil, "needs strace"),
        arguments: [
            "linkat:error=ENOENT", "linkat:error=EOPNOTSUPP", "?rename,?renameat,?renameat2:error=EIO",
            "linkat:error=EIO", "fsync:error=EIO",
        ])
    func aFileWithoutANameIsNotNeeded(_ fault: String) throws {
        let daemon = try daemon()
        _ = try getFailing(fault, daemon)
        let isMade = !fault.contains("EIO")
        #expect(try names == (isMade ? ["new", "old"] : ["old"]))
        if isMade { #expect(try content("new") == "KEY" && mode("new") == 0o600) }
    }

    /// Writes to the key while it is read: before its first byte, or after its last one.
    @Test(
        .enabled(if: installed("strace") != nil, "needs strace"),
        arguments: ["delay_enter", "delay_exit"], [": > key", "printf 'KEY AND MORE' > key", "printf NEW > key"])
    func aKeyThatChangesWhileItIsReadIsNotTaken(_ moment: String, _ change: String) throws {
        let daemon = try daemon()
        let get = try Program(
            try #require(installed("strace")),
            [
                "-f", "-P", folder["key"], "-e", "inject=pread64:\(moment)=1500000:when=1", Program.built("keybroker"),
                "get", "k", "--output", "new",
            ],
            environment: ["KEYBROKER_SOCKET": daemon.socket], directory: folder["out"])
        try get.wait(for: "the read", in: .error) { $0.contains("pread64(") ? true : nil }
        try folder.shell(change)
        #expect(try get.waitForExit() == 71)
        let text = "key 'k': the file that was handed over cannot be read: it changed while it was read\n"
        #expect(get.text(.error).contains(text), "\(get.text(.error))")
        #expect(try names == ["old"])
    }

    @Test func whereNothingIsGrantedNothingIsTouched() throws {
        let daemon = try daemon()
        for arguments in ["other --output old", "other --output new", "'Bad Name' --output new"] {
            #expect(try get(arguments, daemon).status != 0)
        }
        try folder.remove("key")
        #expect(try get("k --output old", daemon).status == 75)
        try folder.write("key", "", mode: 0o600)
        #expect(try get("k --output old", daemon).status == 66)
        #expect(try names == ["old"])
        #expect(try content("old") == "OLD")
        #expect(try mode("old") == 0o644)
    }

    /// What cannot be written is not asked for, so no grant is recorded.
    @Test func whatCannotBeWrittenIsNotAskedFor() throws {
        let daemon = try daemon()
        try FileManager.default.createSymbolicLink(atPath: folder["out/link"], withDestinationPath: "old")
        for (place, text) in [
            ("link", "something else than a regular file is there"), ("..", "something else than a regular file"),
            ("none/new", "No such file or directory"), ("/dev/null", "something else than a regular file"),
            ("new/", "that is no name of a file"), ("''", "that is no name of a file"),
        ] {
            let (status, _, errors) = try get("k --output \(place)", daemon)
            #expect(status == 71 && errors.contains(text), "\(place): \(errors)")
        }
        #expect(try daemon.records().allSatisfy { $0["event"] as? String != "request" })
        #expect(try content("old") == "OLD")
    }

    @Test func aFileOfTheShellIsWarnedOf() throws {
        let daemon = try daemon()
        let plain = try get("k >new", daemon)
        #expect(plain.status == 0)
        #expect(plain.errors.contains("warning: standard output is a file with mode 0644"), "\(plain.errors)")
        #expect(plain.errors.contains("--output FILE"))
        #expect(try get("k --certificate >new", daemon).errors.isEmpty)
        #expect(try get("k | cat", daemon) == (0, "KEY", ""))
        // As a unit with StandardOutput=file: has it.
        #expect(try get("k >both 2>&1", daemon).status == 0)
        #expect(try content("both") == "KEY")
    }
}
