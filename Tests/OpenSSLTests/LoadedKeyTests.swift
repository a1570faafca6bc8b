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
}
