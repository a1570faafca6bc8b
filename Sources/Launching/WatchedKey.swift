// A key whose files follow each of its rotations.
//
// Must never write a new certificate while the old key can be read beside it, nor the other way round. Must never touch
// the files before the new pair is known to be one.

internal import ClientKernel
internal import Kernel
internal import KeyBrokerClient
internal import Wire

/// A key that is watched, and the files that a command has of it.
final class WatchedKey {
    private let name: KeyName
    private let note: (String) -> Void
    private var watch: KeyWatch
    private var files: [RenewedFile] = []
    /// A content that could not be written yet, and when to try again.
    private var pending: KeyRotation?
    private var nextAttempt: Instant?
    /// What was said of it.
    private var complaint: String?
    /// Since when the broker cannot be reached. Nil once that was said.
    private var trouble: Instant?
    private var saidTrouble = false
    /// The watch has ended: the files stay as they are.
    private var hasEnded = false

    init(_ name: KeyName, _ broker: KeyBroker, noting note: @escaping (String) -> Void) throws(LaunchFailure) {
        self.name = name
        self.note = note
        do { watch = try broker.watch(name.description) } catch { throw LaunchFailure(error) }
    }

    // MARK: Before the command runs

    /// Gets the key for the first time, and makes its files. A pair that does not match is waited for as in ``Fetching``.
    func begin(_ wanted: [KeyFile], waitingUntil deadline: Instant) throws(LaunchFailure) {
        var patience = deadline
        var failure: LaunchFailure?
        while true {
            guard let rotation = try first(until: patience, isLater: failure != nil) else {
                throw failure ?? LaunchFailure(status: LaunchFailure.system, "key '\(name)': the watch ended")
            }
            do throws(LaunchFailure) {
                let material = try KeyMaterial.read(rotation.key, for: wanted, noting: note)
                files = try Self.calling(try wanted.map { file throws(Failure) in try RenewedFile(file, material) })
                return
            } catch {
                guard error.isPassing else { throw error }
                if failure == nil { patience = Instant.now.after(Limits.pairSettles) }
                failure = error
            }
        }
    }

    /// The next content, or nil if there is none in time.
    /// - Parameter isLater: there was one before. Otherwise it is waited until the broker has answered.
    private func first(until end: Instant, isLater: Bool) throws(LaunchFailure) -> KeyRotation? {
        while true {
            let rest = Instant.now.until(end)
            if isLater, rest == .zero { return nil }
            // A broker that is there answers, in time or with an error.
            do {
                if let rotation = try watch.next(waitingUpTo: max(rest, .milliseconds(100))) { return rotation }
            } catch {
                throw LaunchFailure(error)
            }
        }
    }

    /// The files for the command, which can only read them.
    func passed(_ numbers: Numbers) throws(LaunchFailure) -> [PassedFile] {
        var passed: [PassedFile] = []
        for file in files {
            guard let number = numbers.numbers[file.file] else { continue }
            passed.append(PassedFile(try Self.calling(try file.memory.forReaders()), as: number))
        }
        return passed
    }

    private static func calling<R: ~Copyable>(_ body: @autoclosure () throws(Failure) -> R) throws(LaunchFailure) -> R {
        do { return try body() } catch { throw LaunchFailure(status: LaunchFailure.system, "\(error)") }
    }

    // MARK: While it runs

    /// The number of the descriptor to wait for, and when to call ``advance()`` in any case.
    var number: Int32? { hasEnded ? nil : watch.withDescriptor { $0 } }
    var due: Instant? {
        if hasEnded { return nil }
        let watchDue = watch.wait.map { Instant.now.after($0) }
        return [watchDue, nextAttempt].compactMap { $0 }.min()
    }

    /// Takes the news of the broker, and writes the files if there is a new content.
    /// - Returns: whether the files have changed.
    func advance() -> Bool {
        if hasEnded { return false }
        do {
            while let rotation = try watch.advance() {
                (pending, nextAttempt, complaint) = (rotation, nil, nil)
            }
            noteTrouble()
        } catch {
            hasEnded = true
            note("\(error); the command keeps the key that it has, and gets no later one until it is started again")
            return false
        }
        guard let pending, nextAttempt.map({ $0 <= Instant.now }) ?? true else { return false }
        do throws(LaunchFailure) {
            let material = try KeyMaterial.read(pending.key, for: files.map(\.file), noting: note)
            try Self.calling(try renew(material))
            (self.pending, nextAttempt, complaint) = (nil, nil, nil)
            return true
        } catch {
            // What is missing, or does not match, is announced when it comes. What failed in this process is tried again, and
            // so is a file that could not be read: there may have been no memory for it.
            let waits = error.status != LaunchFailure.system
            self.pending = waits ? nil : pending
            nextAttempt = waits ? nil : Instant.now.after(Limits.retry)
            if complaint == error.description { return false }
            complaint = error.description
            note(
                "\(error.description); the command keeps the key that it has until "
                    + (waits ? "the next change" : "the next attempt"))
            return false
        }
    }

    /// A reader finds the old pair, no key at all, or the new pair.
    private func renew(_ material: borrowing KeyMaterial) throws(Failure) {
        for file in files where file.file.hasKey { try file.memory.empty() }
        for file in files where !file.file.hasKey { try file.fill(material) }
        for file in files where file.file.hasKey { try file.fill(material) }
    }

    private func noteTrouble() {
        guard let error = watch.trouble else {
            if saidTrouble { note("key '\(name)' is watched again") }
            (trouble, saidTrouble) = (nil, false)
            return
        }
        let since = trouble ?? Instant.now
        trouble = since
        guard !saidTrouble, since.after(Limits.saidTrouble) <= Instant.now else { return }
        saidTrouble = true
        note("\(error); the command keeps the key that it has, and this is tried again")
    }
}

/// A file that can be written here and only read by the command.
private final class RenewedFile {
    let file: KeyFile
    var memory: MemoryFile

    init(_ file: KeyFile, _ material: borrowing KeyMaterial) throws(Failure) {
        self.file = file
        memory = try MemoryFile(named: "keybroker \(file)")
        try fill(material)
    }

    func fill(_ material: borrowing KeyMaterial) throws(Failure) {
        try memory.empty()
        try material.write(file, to: &memory)
        try memory.markChanged()
    }
}
