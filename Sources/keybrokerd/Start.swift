// The start of keybrokerd, from the command line to the loop. It does what only root may do, gives up root, and then
// reads the policy and the log as its own account.
//
// Must never serve without a valid policy and a writable log, nor with a right that it does not need.

internal import Audit
internal import Broker
internal import Kernel
internal import Keys
internal import Policy
internal import PolicyLoading
internal import SignerControl
internal import Wire
internal import NameLookup

@main
struct Start {
    static func main() {
        StandardStream.openClosedOnes()
        // The daemon executes itself with such an argument to become a child that has to do with names. Nobody else
        // should.
        NameServiceProcess.serve(ifAskedBy: ProgramArguments.all)
        let logger = Logger()
        do throws(Exit) {
            switch try request() {
            case .help: StandardStream.output.writeLine(Options.help)
            case .version: StandardStream.output.writeLine("keybrokerd \(version)")
            case .serve(let options): try serve(options, logger)
            }
        } catch {
            for line in error.lines { logger.log(line, .failure) }
            exitProcess(error.status.rawValue)
        }
    }

    private static func request() throws(Exit) -> Options.Request {
        do throws(Options.Fault) { return try Options.request(ProgramArguments.all) } catch {
            throw Exit(.usage, "\(error.description); see keybrokerd --help")
        }
    }

    private static func serve(_ options: Options, _ logger: Logger) throws(Exit) {
        let signals = try Exit.onFailure(try Signals())
        let owners = TrustedOwners.now
        let manager = ServiceManager()
        let journal = journal(logger)
        let limit = try Exit.onFailure(try Privileges.raiseDescriptorLimit())
        let capacity = Capacity(total: connections(options, limit, logger))
        let servesSystem = try Exit.onFailure(Privileges.isRoot ? true : try Privileges.canReadAnyFile())
        let mounts = try Exit.onFailure(try LocalMounts.here())
        let keyOwners = owners.keeping(to: mounts)
        let paths = Paths(options, owners: keyOwners, servesSystem: servesSystem)
        let audit = try path(try paths.audit())

        let account = try account(options)
        var inherited = try Exit.onFailure(try ServiceManager.inheritedSockets())
        let isInherited = inherited.hasBroker
        let credentialListener = try CredentialListener.begun(
            inherited.credential.take(), at: try path(try paths.credentialSocket()), owners: owners)
        let listener = try Listener.begun(
            inherited.broker.take(), at: try path(try paths.socket()),
            mode: options.socketMode ?? (Privileges.isRoot ? 0o660 : 0o600), owners: owners,
            group: try group(options))
        let sockets = [listener.path, Self.path(of: credentialListener)].compactMap(\.self)
        let state = "serves \(listener.description): "
        try LogPlace.prepare(audit, for: account, owners: owners)
        let signer = SignerProcess.started(options, besideDaemonOf: account, logger)
        if let account { try Exit.onFailure(try Privileges.become(uid: account.uid, gid: account.gid)) }
        try Exit.onFailure(try Privileges.harden())
        var sandbox = Sandbox()
        sandbox.note("no-new-privileges", "on")
        // The child is forked before the daemon holds anything that the child must not inherit.
        let nameService = try Exit.onFailure(try NameServiceProcess(patience: Limits.nameLookup))
        let names = NameService.separate(nameService)
        sandbox.note("name-service", "separate process")
        let policyFiles = try path(try paths.policy(names: names))
        let opener = try Exit.onFailure(try OpenerProcess(policyFiles, owners: owners, mounts: mounts))
        warnOfUnknownCallers(opener, logger)
        sandbox.note("opener", "separate process")

        let began = Instant.now
        let loading = try policy(policyFiles, mayBeFaulty: isInherited, logger)
        let policy = loading.loaded ?? .none(in: policyFiles)
        opener.adoptPolicy()
        let log: AuditLog
        let writers = owners.ofLog(writtenBy: Privileges.effectiveUID)
        do throws(LogError) { log = try AuditLog(audit, syncs: options.auditSyncs, owners: writers) } catch {
            if case .inUse = error { throw Exit(.busy, error.description) }
            throw Exit(.audit, error.description)
        }
        if let recovery = log.recovery { logger.log("the audit log: \(recovery)") }
        let watch = changeWatch(logger)
        let folders = policy.folders(owners: keyOwners, watchedBy: watch)
        // No path can be added to the watch later: the sandbox denies it from here on.
        watch?.seal()
        // There is room for everything that can be ready at once, so that nothing has to wait for another turn.
        let poller = try Exit.onFailure(try Poller(capacity: capacity.total + Limits.credentials + 8))
        let (reloads, closer) = sandbox.apply(folders, audit: audit, sockets: sockets, logger) { sandbox in
            beginThreads(of: manager, mounts, logger)
            return (
                Reloads(of: policyFiles, outsideOf: sandbox, owners: keyOwners, opener: opener, logger),
                Self.closer(most: Self.closing(limit, beside: capacity), into: nameService, logger)
            )
        }
        let keys = KeyStore(owners: keyOwners, watch: watch, sandbox: sandbox, opener: opener)
        let broker = Broker(policy: policy, log: log, keys: keys, signer: signer, capacity: capacity)
        if !servesSystem { broker.restart = "systemctl --user restart keybrokerd" }
        if loading.loaded == nil { broker.postponePolicy(loading, cost: began.until(.now)) }
        try Exit.onFailure(try broker.start(), status: .audit)
        let loop = EventLoop(
            listener, signals: signals, watch: watch, opener: opener, signer: signer, broker: broker, poller: poller,
            reloads: reloads, closer: closer, manager: manager, logger: logger, capacity: capacity)
        loop.credentials = try credentials(credentialListener, broker, poller, closer, logger)
        logger.journal = journal
        loop.warnOfKeysOutside()
        if let complaint = broker.complaint { logger.log(complaint, .failure) }
        let summary = broker.complaint ?? state + policy.summary
        if broker.hasPolicy { logger.log(summary, .information) }
        manager.ready(summary)
        try Exit.onFailure(try loop.run())
        // The next daemon need not wait until the kernel has closed what callers sent to this one.
        log.release()
        logger.journal = nil
    }

    private static func credentials(
        _ listener: consuming CredentialListener?, _ broker: Broker, _ poller: Poller, _ closer: Closer?,
        _ logger: Logger
    ) throws(Exit) -> CredentialServer? {
        guard let listener else { return nil }
        do throws(Failure) { return try CredentialServer(listener, broker, poller, closer, logger) } catch {
            throw Exit(.system, error.description)
        }
    }

    private static func path(of listener: borrowing CredentialListener?) -> String? {
        switch listener {
        case .some(let listener): listener.path
        case .none: nil
        }
    }

    private static func path<R>(_ body: @autoclosure () throws(Paths.Unknown) -> R) throws(Exit) -> R {
        do { return try body() } catch { throw Exit(.usage, error.description) }
    }

    /// Nil if standard error is not the journal. Its socket is made here, because the sandbox forbids it later.
    private static func journal(_ logger: Logger) -> Journal? {
        do throws(Failure) { return try Journal.ofStandardError() } catch {
            logger.log("the journal is told on standard error, without fields and decisions: \(error)")
            return nil
        }
    }

    /// Nil if the kernel offers no such watch. Each path is then walked each time, which is slower but just as safe.
    private static func changeWatch(_ logger: Logger) -> ChangeWatch? {
        do throws(Failure) { return try ChangeWatch() } catch {
            logger.log("changes on the ways to keys cannot be watched, so each way is walked for each grant: \(error)")
            return nil
        }
    }

    private static func beginThreads(of manager: ServiceManager, _ mounts: LocalMounts?, _ logger: Logger) {
        do throws(Failure) { try manager.beginThread(confinedBy: confine) } catch {
            logger.log(
                "whoever keeps the service manager's socket full can keep it from hearing that the daemon is alive, as "
                    + "there can be no thread that waits for room: \(error)")
        }
        // Nothing is known of the mounts then, and a key on one that hangs stops the daemon.
        guard let mounts else {
            return logger.log("keys on file systems that hang cannot be told from others: there is no /proc")
        }
        do throws(Failure) { try mounts.beginThread(confinedBy: confine) } catch {
            logger.log(
                "who may mount many file systems can keep callers waiting, as there can be no thread that reads the "
                    + "table of mounts: \(error)")
        }
    }

    /// Confines a thread. Where the kernel has no filter, the loop has none either, and has said so.
    private static let confine: @Sendable () throws(Failure) -> Void = { () throws(Failure) in
        try? Sandbox.restrictCallsOfThread()
    }

    /// Nil if there can be no thread for that.
    private static func closer(most: Int, into maker: NameServiceProcess, _ logger: Logger) -> Closer? {
        do throws(Failure) {
            return try Closer(most: most, into: { maker.makeDisposal() }, confinedBy: confine)
        } catch {
            logger.log(
                "a caller can keep the others waiting, as there can be no thread that closes what it sent: \(error)")
            return nil
        }
    }

    /// Says so if the kernel cannot tell for certain in which process a caller is. A caller's uid and groups do not
    /// depend on that.
    private static func warnOfUnknownCallers(_ opener: OpenerProcess, _ logger: Logger) {
        let reason: String
        do throws(Failure) {
            _ = try readSmallFile("/proc/self/cgroup", limit: 1 << 20)
            guard !opener.knowsProcesses else { return }
            reason = "it has no SO_PEERPIDFD, which Linux 6.5 brought"
        } catch { reason = error.description }
        logger.log("the kernel does not tell the units of callers, so lines with 'unit' permit nothing: \(reason)")
    }

    private static let ownDescriptors = Limits.reservedDescriptors + Limits.rememberedPaths + 3 * Limits.credentials

    /// How many connections may wait to be closed: of the descriptors that nothing else needs at most half, and some of the
    /// reserved ones in any case.
    private static func closing(_ limit: Int, beside capacity: Capacity) -> Int {
        max(Limits.closing, (limit - ownDescriptors - 3 * capacity.total) / 2)
    }

    /// How many connections the limit of file descriptors permits: one descriptor for each, two that are being handed
    /// out, and some for the daemon itself.
    private static func connections(_ options: Options, _ limit: Int, _ logger: Logger) -> Int {
        let possible = max(1, (limit - ownDescriptors) / 3)
        if possible < options.maxConnections {
            logger.log("at most \(possible) connections at a time, as the process may have \(limit) descriptors")
        }
        return min(possible, options.maxConnections)
    }

    /// The account to become, or nil if the process is not root's and keeps its account.
    private static func account(_ options: Options) throws(Exit) -> Account? {
        guard Privileges.isRoot else {
            guard options.user == nil else { throw Exit(.usage, "only root can become another user with --user") }
            return nil
        }
        let name = options.user ?? "keybroker"
        guard let found = try Exit.onFailure(try account(name)) else {
            throw Exit(
                .usage,
                "there is no user '\(name)' to become: create it (useradd --system \(name)), "
                    + "or name another with --user")
        }
        return found
    }

    /// Nil if there is no account of that name or number.
    private static func account(_ name: String) throws(Failure) -> Account? {
        guard let number = decimal(name) else { return try Accounts.user(named: name) }
        guard let uid = UInt32(exactly: number), uid != .max else { return nil }
        // If the uid has no entry, its gid is taken to be the same number.
        return try Accounts.user(numbered: uid) ?? Account(name: name, uid: uid, gid: uid)
    }

    /// The group that may connect, or nil if an ordinary user named none.
    private static func group(_ options: Options) throws(Exit) -> UInt32? {
        guard let name = options.socketGroup ?? (Privileges.isRoot ? "keyusers" : nil) else { return nil }
        let found =
            if let number = decimal(name) {
                UInt32(exactly: number).flatMap { $0 == .max ? nil : $0 }
            } else {
                try Exit.onFailure(try Accounts.gid(ofGroup: name))
            }
        guard let found else {
            throw Exit(
                .usage,
                "there is no group '\(name)' for those who may connect: create it "
                    + "(groupadd --system \(name)), or name another with --socket-group")
        }
        return found
    }

    /// - Parameter mayBeFaulty: whether the service manager keeps the socket. Callers would wait in it for ever.
    private static func policy(
        _ files: PolicyFiles, mayBeFaulty: Bool, _ logger: Logger
    ) throws(Exit) -> LoadResult {
        let loading = files.load()
        guard loading.loaded != nil || mayBeFaulty else {
            throw Exit(
                .policy,
                lines: loading.diagnostics.flatMap(\.lines)
                    + ["the policy is faulty (\(loading.faults) faults), so nothing is served"])
        }
        logger.log(loading.diagnostics)
        return loading
    }
}
