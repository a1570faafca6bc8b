// keybroker policy test: compares a policy with the expectations of its owners, for example in the CI of a repository.

internal import ArgumentParser
internal import Kernel
internal import Policy
internal import PolicyLoading
internal import PolicyReview
internal import Wire

struct PolicyTest: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test", abstract: "Tests a policy against expectations.",
        discussion: """
            FILE has one expectation a line: expect USER [unit UNIT] key NAME granted|denied, or expect unit:UNIT key \
            NAME granted|denied. Instead of key NAME there can be sign NAME, sign NAME for tls-server, sign NAME for \
            tls-client, or the word status. What is about a user or a key that there is not, or a unit that there \
            cannot be, is not met. Exit status: 0 where all \
            are met, 1 where one is not, 64 where FILE is faulty, 78 where the policy is.
            """)

    @Argument(help: ArgumentHelp("The expectations.", valueName: "file"), completion: .file())
    var file: String

    @OptionGroup var options: PolicyOptions

    func run() throws {
        let policy = try options.load().policy
        let bytes: [UInt8]
        do throws(Failure) { bytes = try readSmallFile(file, limit: Limits.policyBytes) } catch {
            throw fail("\(error)", status: 64)
        }
        let (expectations, faults) = readExpectations(PolicyText(file: file, bytes: bytes))
        guard faults.isEmpty else {
            say(faults)
            throw fail("\(counted(faults.count, "error")) in the expectations", status: 64)
        }
        let daemon = PolicyOptions.uidOfDaemon
        var failures = 0
        for expectation in expectations {
            guard let failure = try failure(of: expectation, policy, daemon: daemon) else { continue }
            failures += 1
            say([failure])
        }
        guard failures == 0 else {
            throw fail("\(failures) of \(counted(expectations.count, "expectation")) not met", status: 1)
        }
        try output(line: "\(counted(expectations.count, "expectation")) met")
    }

    private func failure(
        of expectation: PolicyExpectation, _ policy: Policy, daemon: UInt32?
    ) throws(ExitCode) -> Diagnostic? {
        guard let user = expectation.user else {
            return policy.failure(of: expectation, for: Caller(unitAlone: expectation.unit ?? ""))
        }
        guard let caller = try lookedUpIfThere(user, unit: expectation.unit) else {
            return expectation.fault("there is no user '\(user)'")
        }
        return policy.failure(of: expectation, for: caller, daemon: daemon)
    }
}
