// The process that opens keys: what runs in the daemon's child.
//
// Must never open a file that its own reading of the policy does not name. Must never write, execute, or read a byte of a
// key.

internal import Kernel
internal import NameLookup
internal import PolicyLoading
internal import Wire

/// Answers the questions of the daemon until that ends.
final class OpenerService {
    private let socket: SeqpacketSocket
    private let files: PolicyFiles
    private let owners: TrustedOwners
    /// Nil if the kernel offers no such watch. The daemon then looks at the files again and again.
    private let watch: ChangeWatch?
    private let poller: Poller
    /// Reads the policy while the process answers questions. Nil if there can be no second thread.
    private let reader: Worker<PolicyFiles, Set<String>?>?
    /// What the policy names.
    private var paths: Set<String> = []
    /// How often the policy still has to be read: a reading that has begun does not count for an order that came later.
    private var isReading = false, readsAgain = 0
    /// Questions about what the policy does not name, which wait until it is read.
    private var waiting: [OpenerPacket] = []

    private static let questions: UInt64 = 0, changes: UInt64 = 1, reading: UInt64 = 2

    /// Runs in the child.
    static func run(_ files: PolicyFiles, _ owners: TrustedOwners) -> Never {
        ChildProcess.setName("keybrokerd-open")
        do throws(Failure) {
            let service = try OpenerService(files, owners)
            try service.serve()
        } catch { ChildProcess.end(1) }
        ChildProcess.end(0)
    }

    private init(_ files: PolicyFiles, _ owners: TrustedOwners) throws(Failure) {
        socket = ChildProcess.takeEnd()
        // Who is permitted makes no difference here, so no name is looked up.
        self.files = files.withNames(.invented(NameNumbers()))
        self.owners = owners
        watch = try? ChangeWatch()
        poller = try Poller(capacity: 3)
        try poller.watch(socket.descriptor, for: .reading, as: Self.questions)
        if let watch { try poller.watch(watch.descriptor, for: .reading, as: Self.changes) }
        Sandbox.restrictToReading()
        reader = try? Worker(
            confinedBy: { () throws(Failure) in try? Sandbox.restrictCallsOfThreadToOpening() }, Self.paths)
        try reader?.register(with: poller, as: Self.reading)
        // The process goes on without the filter where there is none, because it has few rights anyway.
        try? Sandbox.restrictCallsOfThreadToOpening()
    }

    /// What the policy in the files names. Nil if it is faulty.
    private static func paths(in files: PolicyFiles) -> Set<String>? { files.load(warns: false).loaded?.keyPaths }

    private func serve() throws(Failure) {
        var buffer = [UInt8](repeating: 0, count: OpenerPacket.longest)
        while true {
            for event in try poller.wait(atMost: nil) {
                if event.token == Self.changes {
                    noteChanges()
                    continue
                }
                if event.token == Self.reading {
                    try noteReading()
                    continue
                }
                guard case .packet(let length, _, _) = try socket.receive(into: &buffer) else { return }
                try answer(Array(buffer[..<min(length, buffer.count)]))
            }
        }
    }

    /// Tells the daemon of changes. If it has not read what it was told before, that is enough.
    private func noteChanges() {
        guard let changes = watch?.changes(), changes.ways || changes.files else { return }
        try? socket.send(OpenerPacket.changed)
    }

    private func answer(_ packet: [UInt8]) throws(Failure) {
        if packet == OpenerPacket.policy {
            readsAgain += 1
            return try readPolicy()
        }
        guard let question = OpenerPacket(packet) else { return }
        if isReading, !paths.contains(question.text) {
            waiting.append(question)
        } else {
            try answer(question)
        }
    }

    private func readPolicy() throws(Failure) {
        guard !isReading, readsAgain > 0 else { return }
        if let reader {
            isReading = true
            readsAgain -= 1
            return reader.begin(files)
        }
        readsAgain -= 1
        try adopt(Self.paths(in: files))
    }

    private func noteReading() throws(Failure) {
        guard let read = reader?.take() else { return }
        isReading = false
        try adopt(read)
        try readPolicy()
    }

    /// - Parameter read: a faulty policy changes nothing, as in the daemon.
    private func adopt(_ read: Set<String>?) throws(Failure) {
        if let read { paths = read }
        try socket.send(OpenerPacket.policyRead)
        let questions = waiting
        waiting = []
        for question in questions { try answer(question) }
    }

    private func answer(_ question: OpenerPacket) throws(Failure) {
        do throws(TrustError) {
            guard paths.contains(question.text) else { throw TrustError(outside: question.text) }
            let file = try owners.place(of: question.text, watchedBy: watch, follows: true).open()
            let answer = OpenerPacket(number: question.number, text: file.path)
            let descriptor: Descriptor? = file.intoDescriptor()
            do throws(Failure) { try socket.send(answer.bytes, with: descriptor) } catch {
                throw TrustError(unreadable: question.text, error)
            }
        } catch {
            try socket.send(OpenerPacket(number: question.number, text: error.description, kind: error.kind).bytes)
        }
    }
}
