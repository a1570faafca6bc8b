// The process that opens keys: what runs in the daemon's child.
//
// Its main thread never touches a file system that another program or computer serves, so it always answers. Its other
// threads do, each for one such file system at a time. Must never open a file that its own reading of the policy does not
// name. Must never write, execute, or read a byte of a key.

internal import Kernel
internal import NameLookup
internal import PolicyLoading
internal import Synchronization
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
    /// Nil if there can be no threads. Then nothing is opened on such file systems.
    private let foreign: ForeignFiles?
    /// What the policy names.
    private var paths: Set<String> = []
    /// How often the policy still has to be read: a reading that has begun does not count for an order that came later.
    private var isReading = false, readsAgain = 0
    /// Questions about what the policy does not name, which wait until it is read.
    private var waiting: [(number: UInt64, question: OpenerQuestion)] = []

    private static let questions: UInt64 = 0, changes: UInt64 = 1, reading: UInt64 = 2, outcomes: UInt64 = 3

    /// Runs in the child.
    static func run(_ files: PolicyFiles, _ owners: TrustedOwners) -> Never {
        ChildProcess.setName("keybrokerd-open")
        // Before any thread is made, so that it counts for all.
        Sandbox.restrictToReading()
        do throws(Failure) { try ChildProcess.goOnInNewThread(isOpener: true) { serve(files, owners) } } catch {
            // There can be no other thread either, so this one shares its locks with none.
            serve(files, owners)
        }
    }

    private static func serve(_ files: PolicyFiles, _ owners: TrustedOwners) -> Never {
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
        // What is mounted here is read by this process itself.
        // It answers at once, also if the table is long.
        let mounts = try LocalMounts.here(isReadNow: false)
        self.owners = owners.keeping(to: mounts)
        watch = try? ChangeWatch()
        poller = try Poller(capacity: 4)
        try poller.watch(socket.descriptor, for: .reading, as: Self.questions)
        if let watch { try poller.watch(watch.descriptor, for: .reading, as: Self.changes) }
        reader = try? Worker(
            confinedBy: { () throws(Failure) in try? Sandbox.restrictCallsOfThreadToOpening() }, Self.paths)
        try reader?.register(with: poller, as: Self.reading)
        // If there can be no thread, the main thread reads the table.
        try? mounts?.beginThread { () throws(Failure) in try? Sandbox.restrictCallsOfThreadToOpening() }
        foreign = try? ForeignFiles(owners)
        try foreign?.register(with: poller, as: Self.outcomes)
        // The process goes on without the filter where there is none, because it has few rights anyway.
        try? Sandbox.restrictCallsOfThreadToOpening()
    }

    /// What the policy in the files names. Nil if it is faulty.
    private static func paths(in files: PolicyFiles) -> Set<String>? { files.load(warns: false).loaded?.keyPaths }

    private func serve() throws(Failure) {
        while true {
            for event in try poller.wait(atMost: nil) {
                switch event.token {
                case Self.changes: noteChanges()
                case Self.outcomes:
                    for outcome in foreign?.outcomes() ?? [] { try answer(outcome.packet, outcome.descriptors) }
                case Self.reading: try noteReading()
                default: try receive()
                }
            }
        }
    }

    private func receive() throws(Failure) {
        guard var delivery = try socket.receiveDelivery(limit: OpenerPacket.longest) else { return }
        if delivery.packet.isEmpty { ChildProcess.end(0) }
        let packet = delivery.packet
        let client = delivery.first.take()
        if packet == OpenerPacket.policy {
            readsAgain += 1
            return try readPolicy()
        }
        switch OpenerPacket(packet) {
        case .open(let number, let question): try open(number, question)
        case .send(let number, let end, let packet): try send(number, end, packet, to: client)
        case .drop(let number): foreign?.drop(number)
        case .opened, .failed, .sent, nil: return
        }
    }

    /// Tells the daemon of changes. If it has not read what it was told before, that is enough.
    private func noteChanges() {
        guard let changes = watch?.changes(), changes.ways || changes.files else { return }
        try? socket.send(OpenerPacket.changed)
    }

    private func readPolicy() throws(Failure) {
        guard !isReading, readsAgain > 0 else { return }
        readsAgain -= 1
        guard let reader else { return try adopt(Self.paths(in: files)) }
        isReading = true
        reader.begin(files)
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
        try tell { () throws(Failure) in try socket.send(OpenerPacket.policyRead) }
        let questions = waiting
        waiting = []
        for (number, question) in questions { try open(number, question) }
    }

    private func open(_ number: UInt64, _ question: OpenerQuestion) throws(Failure) {
        if let path = question.paths.first(where: { !paths.contains($0) }) {
            // What is being read may name it.
            if isReading { return waiting.append((number, question)) }
            return try answer(.failed(number, TrustError(outside: path)))
        }
        guard question.lane == 0 else {
            guard let foreign else {
                return try answer(
                    .failed(number, TrustError(.unreadable, "\(question.paths[0]): there can be no thread to open it")))
            }
            return foreign.open(number, question)
        }
        let opened: (packet: OpenerPacket, files: OpenFiles?)
        do throws(TrustError) {
            let pair = try question.opened(owners, watchedBy: watch)
            opened = (.opened(number, pair.facts), pair.files)
        } catch { opened = (.failed(number, error), nil) }
        try answer(opened.packet, opened.files)
    }

    /// - Parameter descriptors: what goes with the answer, or nil if nothing does.
    private func answer(_ packet: OpenerPacket, _ descriptors: OpenFiles? = nil) throws(Failure) {
        try tell { () throws(Failure) in
            do throws(Failure) {
                if let descriptors { return try descriptors.send(packet.bytes, on: socket) }
                return try socket.send(packet.bytes)
            } catch {
                if case .opened(let number, let files) = packet, descriptors != nil, error.isShortage {
                    return try answer(.failed(number, TrustError(.shortage, error.on(files[0].path).description)))
                }
                throw error
            }
        }
    }

    /// Nothing may get lost: the daemon would take that for a file system that hangs, or for a policy that is not read
    /// yet. So it waits until the daemon has read enough of what came before.
    private func tell(_ send: () throws(Failure) -> Void) throws(Failure) {
        while true {
            do throws(Failure) { return try send() } catch {
                guard error.code == Failure.wouldBlock || error.isShortage else { throw error }
                _ = try pause(until: Instant.now.after(Limits.openerPause))
            }
        }
    }

    /// Sends a packet with held files to a client, for the daemon.
    private func send(
        _ number: UInt64, _ end: Instant, _ packet: [UInt8], to client: consuming Descriptor?
    ) throws(Failure) {
        var code = Failure.timedOut
        if let client, Instant.now < end {
            let connection = SeqpacketSocket(connected: client)
            do throws(Failure) {
                guard let foreign else { throw Failure("sendmsg", code: Failure.badData) }
                try foreign.send(number, packet, on: connection)
                code = 0
            } catch { code = error.code }
        }
        try answer(.sent(number, code: code))
    }
}
