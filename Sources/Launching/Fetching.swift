// Gets a key from the broker that does not change while the command runs.
//
// Must never wait for something that waiting cannot change.

internal import Kernel
internal import KeyBrokerClient
internal import Wire

/// Gets keys from the broker.
struct Fetching {
    let broker: KeyBroker
    /// No new attempt begins after this moment because the broker is away or busy, or a file is missing.
    let deadline: Instant
    /// Told what could not be checked.
    let note: (String) -> Void

    init(_ broker: KeyBroker, waitingUpTo wait: Duration, noting note: @escaping (String) -> Void) {
        self.broker = broker
        deadline = Instant.now.after(wait)
        self.note = note
    }

    /// Gets the key, and its certificate if a file of it is wanted. If they do not match, or one of them is empty or
    /// damaged, somebody may just be replacing them: they are asked for again for a short time.
    /// - Parameter isLent: the key signs and is not handed out, so a pointer stands in its place.
    func material(
        of name: KeyName, for files: [KeyFile], isLent: Bool
    ) throws(LaunchFailure) -> KeyMaterial {
        var end: Instant?
        var interval = Limits.firstPairLook
        while true {
            do throws(LaunchFailure) { return try read(name, files, isLent) } catch {
                let last = end ?? Instant.now.after(Limits.pairSettles)
                end = last
                guard error.isPassing, Instant.now.after(interval) <= last else { throw error }
            }
            try Self.pause(interval)
            interval *= 2
        }
    }

    private func read(_ name: KeyName, _ files: [KeyFile], _ isLent: Bool) throws(LaunchFailure) -> KeyMaterial {
        if isLent {
            let signer = try granted { wait throws(KeyBrokerError) in
                try broker.signer(name.description, waitingUpTo: wait)
            }
            // The channel ends here. It has shown that the command will get one of its own.
            return try KeyMaterial.pointer(to: name, signer, for: files, noting: note)
        }
        let handed = try granted { wait throws(KeyBrokerError) in try broker.key(name.description, waitingUpTo: wait) }
        return try KeyMaterial.read(handed, for: files, noting: note)
    }

    /// Asks for something, for as long as the caller is willing to wait.
    private func granted<R: ~Copyable>(
        _ ask: (Duration) throws(KeyBrokerError) -> R
    ) throws(LaunchFailure) -> R {
        var interval = Limits.firstMissingLook
        while true {
            let rest = Instant.now.until(deadline)
            do { return try ask(rest) } catch {
                guard case .unavailable = error, Instant.now.after(interval) <= deadline else {
                    throw LaunchFailure(error)
                }
            }
            try Self.pause(interval)
            interval = min(interval * 2, Limits.lastMissingLook)
        }
    }

    private static func pause(_ interval: Duration) throws(LaunchFailure) {
        do throws(Failure) { _ = try Kernel.pause(until: Instant.now.after(interval)) } catch {
            throw LaunchFailure(status: LaunchFailure.system, "\(error)")
        }
    }
}
