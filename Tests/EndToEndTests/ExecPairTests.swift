// `keybroker exec` and time: a broker that is not there yet, files that are just being replaced, and what others see.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: it becomes other accounts"))
struct ExecPairTests {
    private let fixture: ExecFixture
    private var folder: TemporaryFolder { fixture.folder }

    init() throws { fixture = try ExecFixture("pairs") }

    /// Waits until the log has a record of that decision.
    private func waitForRecord(_ decision: String, key: String) throws {
        try waitUntil("there is a record of \(decision) \(key)") {
            try fixture.daemon.records().contains {
                $0["decision"] as? String == decision && $0["key"] as? String == key
            }
        }
    }

    // MARK: Waiting

    @Test func itWaitsForABrokerThatStarts() throws {
        try fixture.daemon.stop()
        #expect(try fixture.run([], ["true", "{web}"]).status == 69)
        let waiting = try fixture.start(["--wait", "60s"], ["cat", "{web}"])
        // Until the command runs, nobody else of the account may look into the process.
        try waitUntil("it cannot be traced") {
            let line = FileManager.default.contents(atPath: "/proc/\(waiting.pid)/cmdline") ?? Data()
            let owner = try FileManager.default.attributesOfItem(atPath: "/proc/\(waiting.pid)/mem")[.ownerAccountID]
            return line.starts(with: Data(Program.built("keybroker").utf8)) && owner as? Int == 0
        }
        try fixture.daemon.restart()
        #expect(try waiting.waitForExit() == 0)
        #expect(waiting.text() == (try folder.text("web.key")))
    }

    @Test func itWaitsForAKeyThatIsMissing() throws {
        try folder.shell("mv web.key web.away")
        let impatient = try fixture.run([], ["true", "{web}"])
        #expect(impatient.status == 75)
        #expect(impatient.errors.contains("file-missing"))
        let waiting = try fixture.start(["--wait", "60s"], ["cat", "{web}"])
        try waitForRecord("unavailable", key: "web")
        try folder.shell("mv web.away web.key")
        #expect(try waiting.waitForExit() == 0)
        #expect(waiting.text() == (try folder.text("web.key")))
    }

    /// A key that was just replaced is not given out with the certificate of the one before.
    @Test func aPairThatIsBeingReplacedIsWaitedFor() throws {
        try folder.shell("cp web.crt old.crt; cp other.crt web.crt; cp -p other.key new.key")
        let waiting = try fixture.start([], ["cat", "{web.bundle}"])
        try waitForRecord("granted", key: "web")
        try folder.shell("mv new.key web.key")
        #expect(try waiting.waitForExit() == 0, "\(waiting.text(.error))")
        #expect(waiting.text() == (try folder.text("other.crt")) + (try folder.text("other.key")))
    }

    @Test func aHalfOfAFileIsNoPair() throws {
        let whole = try folder.text("web.key")
        try folder.write("web.key", String(whole.prefix(whole.count / 2)), mode: 0o600)
        let result = try fixture.run([], ["true", "{web.bundle}"])
        #expect(result.status == 65)
        #expect(result.errors.contains("the private key cannot be read; make sure that the file is whole"))
        // Without the certificate there is nothing to compare it with.
        #expect(try fixture.run([], ["true", "{web}"]).status == 0)
    }

    // MARK: What cannot be compared

    @Test func aKeyThatIsEncryptedIsPassedOn() throws {
        try folder.shell("openssl pkey -in web.key -aes256 -passout pass:x -out locked.key; mv locked.key web.key")
        let result = try fixture.run([], ["cat", "{web.bundle}"])
        #expect(result.status == 0)
        #expect(
            result.errors.contains(
                "the key is encrypted, so nobody checked that the key and its certificate belong together"))
        #expect(result.output == (try folder.text("web.crt")) + (try folder.text("web.key")))
    }

    @Test func otherFormsArePassedOn() throws {
        try folder.shell(
            """
            openssl pkey -in web.key -outform DER -out web.der; mv web.der web.key
            openssl x509 -in web.crt -outform DER -out web.der; mv web.der web.crt
            """)
        try folder.shell("cp web.key copy.key; cp web.crt copy.crt; chmod 644 copy.*")
        let compare = "cmp $KEY \"$0\" && cmp $CERTIFICATE \"$1\""
        let result = try fixture.run(
            ["--env", "KEY=web", "--env", "CERTIFICATE=web.certificate"],
            ["/bin/sh", "-c", compare, folder["copy.key"], folder["copy.crt"]])
        #expect(result.status == 0)
        #expect(result.errors.contains("the key is not in PEM form, so nobody checked"))
    }

    @Test func theKeyBeginsOnALineOfItsOwn() throws {
        try folder.shell("printf '%s' \"$(cat web.crt)\" > cut.crt; mv cut.crt web.crt")
        let result = try fixture.run([], ["cat", "{web.bundle}"])
        #expect(result.output == (try folder.text("web.crt")) + "\n" + (try folder.text("web.key")))
    }

    // MARK: What others see

    /// As keybroker(1) says: other processes of the account can read the file, those of other accounts cannot.
    @Test func onlyTheAccountCanOpenTheFile() throws {
        let service = try fixture.start(
            ["--key", "web"], ["/usr/bin/python3", ExecFixture.given], environment: ["STAY": "1"])
        _ = try service.nextLine()
        func read(as uid: Int) throws -> (status: Int32, output: String, errors: String) {
            try Program.run(
                installed("setpriv") ?? "setpriv",
                [
                    "--reuid", String(uid), "--regid", String(uid), "--clear-groups", "--", "cat",
                    "/proc/\(service.pid)/fd/3",
                ])
        }
        #expect(try read(as: ExecFixture.uid).output == (try folder.text("web.key")))
        let stranger = try read(as: 61002)
        #expect(stranger.status == 1)
        #expect(stranger.errors.contains("Permission denied"))
        try service.send("")
        #expect(try service.waitForExit() == 0)
    }
}
