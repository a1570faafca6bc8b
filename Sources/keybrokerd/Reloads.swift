// The reload that is running, and the one that comes after it.
//
// A second thread reads the policy, because a policy can have hundreds of thousands of lines, and the name service can
// take ten seconds for a name. A child process would have to send the policy back, byte by byte, and slices of the loop
// could not wait for a name. Two readings never run at once. What the thread hands back is a value that nobody else
// has, so the loop stays the only owner of what is in force. Must never put a policy in force itself.

internal import Kernel
internal import Keys
internal import PolicyLoading

final class Reloads {
    /// Who asked for a reload.
    struct Order {
        let uid: UInt32
        let pid: Int32
        /// False if nobody did, and the daemon tries a faulty policy again.
        let isAsked: Bool
    }

    enum Stage {
        /// The thread reads the policy.
        case reading(Order)
        /// It was read, and the process that opens keys reads it as well, until then at most.
        case opening(Order, LoadResult, until: Instant)
    }

    private let read: @Sendable () -> LoadResult
    /// Nil if the system permits no second thread. The loop then reads the policy itself.
    private let thread: Worker<Void, LoadResult>?
    private var outcome: LoadResult?
    /// What is running, or nil if nothing is.
    var stage: Stage?
    /// Who asked last while a reload was running. There is one more reload for all of them.
    var next: Order?
    /// When the reading began that is running.
    private(set) var began = Instant.now

    /// Makes the thread. Call this when the sandbox for files is in force, and the one for system calls is not yet.
    init(
        of files: PolicyFiles, outsideOf sandbox: Sandbox, owners: TrustedOwners, opener: OpenerProcess,
        _ logger: Logger
    ) {
        let read: @Sendable () -> LoadResult = {
            var loading = files.load()
            if !opener.isRunning {
                let outside = loading.loaded?.keys(outsideOf: sandbox, owners: owners)
                loading.loaded?.outside = outside
            }
            let hidden = loading.loaded?.keys(hiddenBy: .here)
            loading.loaded?.hidden = hidden
            return loading
        }
        self.read = read
        do throws(Failure) {
            thread = try Worker(confinedBy: Sandbox.restrictCallsOfThread) { read() }
        } catch {
            thread = nil
            logger.log(
                "callers have to wait while the policy is read anew, as there can be no thread for that: \(error)")
        }
    }

    func register(with poller: Poller, as token: UInt64) throws(Failure) {
        try thread?.register(with: poller, as: token)
    }

    /// Begins to read the policy for somebody.
    func begin(_ order: Order) {
        began = .now
        stage = .reading(order)
        if let thread { thread.begin(()) } else { outcome = read() }
    }

    /// What was read. Nil if it is not read yet. Does not wait.
    func take() -> LoadResult? { thread.map { $0.take() } ?? outcome.take() }

    /// When there is something to do though nothing is ready, or nil if there is nothing.
    var nextDue: Instant? {
        switch stage {
        case .opening(_, _, let until): until
        case .reading: thread == nil ? .boot : nil
        case nil: nil
        }
    }
}
