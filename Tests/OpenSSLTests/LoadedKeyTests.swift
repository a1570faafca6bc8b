// A program that has loaded a key, and later wants another channel: one more process, or a channel that has ended.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Provider.isPossible, "needs a C compiler, make, openssl and python3"))
struct LoadedKeyTests {
    private func bench(_ name: String, uses: Int = 4) throws -> ProviderBench {
        try ProviderBench(name, keys: [("ec", ProviderBench.p256)], uses: uses)
    }

    /// Refusals of further ends go to the end that all children have inherited, which the parent does not read. More of them
    /// than its queue has room for cost nobody a signature, and it is of use again when there are fewer ends.
    @Test func aServerThatForksForEachConnection() throws {
        let bench = try bench("crowd", uses: 1)
        let program = try bench.python("ec")
        try program.send("crowd 64 320")
        // On a busy machine, a few may take longer than their second.
        let succeeded = Int(try program.nextLine(seconds: 120)) ?? 0
        #expect(succeeded > 310, "\(succeeded) of 320: \(program.text(.error))")
        let asked = try #require(Int(try bench.tell("asked")))
        #expect(asked > 310)
        #expect(try program.ask("fork 4 1") == "4", "\(program.text(.error))")
        #expect(try bench.tell("asked") == "\(asked)")
    }

    /// A channel that does not answer costs half of the second, and the other half is for asking anew.
    @Test(.enabled(if: isRoot, "needs root: it stops a process of another account"))
    func aChannelThatHangs() throws {
        let bench = try bench("hangs")
        let program = try bench.client("failing.py", "ec.pem")
        try bench.tell("hang")
        #expect(try program.ask("sign") == "signed")
        #expect(try bench.tell("asked") == "2")
    }

    /// The reply is there although the request could not be sent.
    @Test func aBusyBrokerIsNotAskedAgain() throws {
        let bench = try bench("busy")
        try bench.folder.shell(
            "cc -shared -fPIC -o late.so '\(testsFolder.appendingPathComponent("OpenSSLTests/Clients/late.c").path)'")
        let program = try bench.client("failing.py", "ec.pem", environment: ["LD_PRELOAD": bench.folder["late.so"]])
        #expect(try program.ask("sign") == "signed")
        try bench.tell("busy 5000")
        try bench.tell("end")
        #expect(
            try program.ask("sign") == "the broker is busy (decision 2): a limit was reached; ask again in 5.0 seconds")
        #expect(try bench.tell("asked") == "2")
        try bench.tell("busy 99999999999999999999")
        #expect(try program.ask("sign").hasSuffix("ask again in 3600.0 seconds"))
    }

    /// A broker that says that it is busy for no time is not asked without a pause.
    @Test func aBrokerThatIsBusyForNoTime() throws {
        let bench = try bench("no-time")
        let program = try bench.client("failing.py", "ec.pem")
        try bench.tell("busy 0")
        try bench.tell("end")
        let said = try program.ask("sign")
        // The second may be over while the last reply is on its way.
        #expect(
            said.hasSuffix("): a limit was reached; ask again in 0.001 seconds")
                || said.hasSuffix(" did not answer in time"), "\(said)")
        let asked = try #require(Int(try bench.tell("asked")))
        #expect(asked <= 1002, "\(asked)")
    }

    @Test func aShortageOfDescriptorsIsNamed() throws {
        let bench = try bench("shortage")
        let program = try bench.client("failing.py", "ec.pem")
        // No end is left whose descriptor would be free later.
        try bench.tell("deny ec")
        try bench.tell("end")
        #expect(try program.ask("sign").contains("does not permit"))
        try bench.tell("permit ec")
        for (free, call) in [
            (0, "socket: Too many open files"), (1, "the kernel withheld a descriptor, as it also does"),
        ] {
            #expect(try program.ask("free \(free)") == "done")
            let said = try program.ask("sign")
            #expect(said.hasPrefix(call) && said.contains("raise RLIMIT_NOFILE"), "\(said)")
        }
        #expect(try program.ask("free 10") == "done")
        #expect(try program.ask("sign") == "signed")
    }

    /// As the other clients have it: an empty path is no path, and not the system's broker.
    @Test func anEmptyPathOfTheSocket() throws {
        let bench = try bench("empty")
        let program = try bench.client("failing.py", "ec.pem")
        try bench.tell("end")
        #expect(try program.ask("socket ") == "done")
        #expect(try program.ask("sign") == "connect: Invalid argument (EINVAL)")
    }
}
