// The broker answers a request: it turns the bytes of a packet into a reply and a record for the log.
//
// Permission before existence: it looks at a file only for callers that may have it. Audit before grant: an answer is
// sent only after `commit`. Must never touch a socket, wait or print.

package import Audit
package import Kernel
package import Keys
internal import Policy
package import PolicyLoading
package import SignerControl
package import Wire

/// A packet from a client that needs an answer.
package enum Packet {
    case bytes(ArraySlice<UInt8>)
    /// The packet cannot be a request, whatever its bytes are.
    case malformed(Request.Malformed)
}

/// Decides, opens and records. Its caller sends the answers.
package final class Broker {
    /// The policy in force.
    package private(set) var policy: LoadedPolicy
    /// The number of the policy in force. What was learned about a caller for one policy may not be enough for the
    /// next.
    private(set) var policyNumber = 0
    /// Why there is no policy in force, or nil if there is one.
    var missing: MissingPolicy?
    let ledger: Ledger
    let keys: any KeyOpener
    let overflow: OverflowIDs
    let capacity: Capacity
    let allowance = Allowance()
    private var groupGrants = GroupGrants()
    private var lists = KeyLists()
    let rotations = Rotations()
    let channels: Channels
    /// Called before a list of watches, so that it knows which replies have been read.
    package var noteReadReplies: () -> Void = {}
    var unitLooks = UnitLooks()
    let units = UnitTable()
    package var credentials = CredentialCounts()
    let life = Lifetime()
    /// What an admin types to start the daemon again.
    package var restart = "systemctl restart keybrokerd"
    /// The account that the daemon runs as.
    let ownUID = Privileges.effectiveUID

    package init(
        policy: LoadedPolicy, log: any RecordLog, keys: any KeyOpener, signer: SignerProcess? = nil,
        capacity: Capacity, overflow: OverflowIDs = .ofThisKernel()
    ) {
        self.policy = policy
        self.keys = keys
        channels = Channels(signer)
        self.capacity = capacity
        self.overflow = overflow
        ledger = Ledger(log)
        keys.adopt(policy)
    }

    /// Puts a policy in force.
    func adopt(_ policy: LoadedPolicy) {
        self.policy = policy
        missing = nil
        policyNumber += 1
        lists.forget()
        keys.adopt(policy)
        rotations.adopt(now: .now)
        judgeChannels()
        ledger.beginSweep()
        sweep()
    }

    /// A client has asked again before the moment that it was told.
    package func noteEarlyRequest(of client: Client) { client.account.slowDown(now: .now) }

    // MARK: The answer to a request

    /// Decides a request. An answer counts only after `commit` has returned.
    /// - Parameters:
    ///   - source: the connection, to ask for what is not yet known about the client.
    ///   - load: how busy the server is, for a status.
    /// - Throws: if the client cannot be identified. It then gets no answer.
    package func answer(
        _ packet: Packet, from client: Client, of source: borrowing some PeerSource & ~Copyable,
        under load: @autoclosure () -> Load
    ) throws(Failure) -> Decided {
        var record = Record(.request)
        let decoded = decode(packet)
        if case .success(let request) = decoded { (record.verb, record.key) = (request.verb, request.key) }

        let now = Instant.now
        // A look at very many groups is paid for after the request, so that it does not make the request too early.
        defer { payForGroups(client, now) }
        if let refused = try admitRequest(of: client, from: source, record, now) { return .answer(refused) }
        return decide(decoded, record, client, now, load())
    }

    /// Identifies the client, and counts the request. Returns the answer if it comes too early, or the client cannot be
    /// identified now.
    private func admitRequest(
        of client: Client, from source: borrowing some PeerSource & ~Copyable, _ record: Record, _ now: Instant
    ) throws(Failure) -> Answer? {
        if !client.isIdentified(under: policyNumber) {
            // The rate limit by the credentials comes first, because reading the rest costs time as well.
            let possible = policy.policy.possibleRequests(
                ofUser: client.uid == overflow.uid ? nil : client.uid, otherwise: Limits.requestsPerSecond)
            let most = client.account.requestsPerSecond(of: possible.upperBound, now: now)
            if let wait = client.account.wait(perSecond: most, now: now) {
                let turn = client.account.waitInTurn(wait, perSecond: most, now: now)
                return busy(.limitRequests, for: turn, record, client)
            }
            if let reason = try identify(client, from: source, now) {
                return busy(reason, for: Limits.busy, record, client)
            }
        }
        let rate = client.account.requestsPerSecond(of: client.rate, now: now)
        if let wait = client.account.waitBeforeRequest(perSecond: rate, now: now) {
            let turn = client.account.waitInTurn(wait, perSecond: rate, now: now)
            return busy(.limitRequests, for: turn, record, client)
        }
        return nil
    }

    private func decide(
        _ decoded: Result<Request, Request.Malformed>, _ request: consuming Record, _ client: Client, _ now: Instant,
        _ load: @autoclosure () -> Load
    ) -> Decided {
        var record = request
        switch decoded {
        case .failure(let malformed): return .answer(refuse(malformed, record, client))
        case .success(.get), .success(.watch), .success(.channel), .success(.list):
            if !hasPolicy { return .answer(unavailable(.policyFaulty, record, client)) }
        case .success(.version), .success(.status), .success(.rotation): break
        }
        let answer: Answer
        switch decoded {
        case .failure(let malformed): answer = refuse(malformed, record, client)
        case .success(.get(let name)): answer = key(name, record, client, now, isWatch: false)
        case .success(.watch(let name)): answer = key(name, record, client, now, isWatch: true)
        case .success(.channel(let name)): return channel(name, record, client, now)
        case .success(.list): answer = query(.names([]), names: names(for: client, now), record, client)
        case .success(.version): answer = query(.version(version), record, client)
        case .success(.status(let name)):
            if !client.isAdministrator {
                guard let permit = client.caller.flatMap(policy.policy.statusPermit) else {
                    return .answer(deny(.notAdministrator, record, client))
                }
                record.rule = permit.location.description
            }
            answer = query(
                .status(name.map(statusOfKeys) ?? status(under: load())), record, client,
                isUse: client.isAdministrator)
        case .success(.rotation(let query)):
            answer =
                client.isAdministrator
                ? self.query(.status(holders(from: query)), record, client, isUse: true)
                : deny(.notAdministrator, record, client)
        }
        return .answer(answer)
    }

    private func key(
        _ name: KeyName, _ record: consuming Record, _ client: Client, _ now: Instant, isWatch: Bool
    ) -> Answer {
        guard let caller = client.caller else { return deny(.noRule, record, client) }
        switch policy.policy.verdict(on: name, for: caller) {
        case .denied(let denial): return deny(denial.reason, record, client)
        case .permitted(let key, let rule):
            record.rule = rule.location.description
            if let refused = limitOfGrants(to: client, record, now, isWatch: isWatch) { return refused }
            if isWatch, client.account.watches >= mostWatches(of: client) {
                return busy(.limitWatches, for: Limits.busy, record, client)
            }
            do throws(TrustError) {
                let files = try keys.handOut(key)
                countGrant(to: client, now)
                return grant(files, of: name, record, client, isWatch: isWatch)
            } catch { return notHandedOver(error, record, client) }
        }
    }

    /// The answer if the client may be granted nothing now, because it has not read enough or others share its limit.
    /// - Parameter isWatch: a watch has a limit of its own in the place of that of unread replies.
    func limitOfGrants(to client: Client, _ record: Record, _ now: Instant, isWatch: Bool) -> Answer? {
        guard isWatch || client.account.unread < capacity.unreadPerUser else {
            return busy(.limitUnread, for: Limits.busy, record, client)
        }
        guard client.isOneOfMany else { return nil }
        return groupGrants.wait(of: client.account, now: now).map { busy(.limitRequests, for: $0, record, client) }
    }

    func countGrant(to client: Client, _ now: Instant) {
        if client.isOneOfMany { groupGrants.count(client.account, now: now) }
    }

    /// The answer that hands out the files of a key.
    /// - Parameter begun: the watch that is told of a rotation, or nil if this is the answer to a request.
    func grant(
        _ files: consuming HandOut, of name: KeyName, _ record: consuming Record, _ client: Client, isWatch: Bool,
        begun: Watch? = nil
    ) -> Answer {
        record.decision = .granted
        record.reason = .permitted
        record.file = HandedOver(path: files.key.path, status: files.key.status)
        record.certificate = files.certificateHandedOver
        let watched = isWatch ? rotations.key(name, with: Content(of: files), now: .now) : nil
        record.generation = watched?.generation
        complete(&record, client)
        let recorded = ledger.staged(record, of: name)
        // A connection is told of the next rotation only after it has read the last one, so the limit of watches is also
        // one of unread replies.
        var unread: UnreadReply?
        if !isWatch { unread = UnreadReply(of: client.account) }
        return Answer(
            granted: recorded, files, unread, watch: begun ?? watched.map { Watch(client, $0) })
    }

    /// The answer if the policy permits the key, but it cannot be handed over: because there are too few file
    /// descriptors, or because the file cannot be trusted or opened.
    func notHandedOver(_ distrust: TrustError, _ request: Record, _ client: Client) -> Answer {
        var record = request
        record.detail = distrust.description
        let reason = Reason(distrust)
        if distrust.kind == .shortage || distrust.kind == .late {
            return busy(reason, for: Limits.busy, record, client)
        }
        return unavailable(reason, record, client)
    }

    private func names(for client: Client, _ now: Instant) -> [KeyName] {
        guard let caller = client.caller else { return [] }
        let names = lists.list(for: caller, under: policy.policy)
        client.account.charge(names.count / Limits.namesPerRequest, perSecond: client.rate, now: now)
        return names
    }

    private func decode(_ packet: Packet) -> Result<Request, Request.Malformed> {
        switch packet {
        case .malformed(let malformed): .failure(malformed)
        case .bytes(let bytes): Result(of: try Request(bytes))
        }
    }

    // MARK: Refusals and queries

    func deny(_ reason: Reason, _ request: Record, _ client: Client) -> Answer {
        Answer(.denied(decision: stage(.denied, reason, request, client)))
    }

    private func refuse(_ malformed: Request.Malformed, _ request: Record, _ client: Client) -> Answer {
        let number = stage(.malformed, malformed.reason, request, client)
        return Answer(.malformed(decision: number, reason: malformed.description), isLast: true)
    }

    func unavailable(_ reason: Reason, _ request: Record, _ client: Client) -> Answer {
        let number = stage(.unavailable, reason, request, client)
        return Answer(.unavailable(decision: number, reason: reason.rawValue))
    }

    private func query(
        _ reply: Reply, names: [KeyName] = [], _ request: Record, _ client: Client, isUse: Bool = false
    ) -> Answer {
        _ = stage(.granted, .permitted, request, client)
        return Answer(reply, names: names, isUse: isUse)
    }

    func busy(
        _ reason: Reason, for wait: Duration, _ request: Record, _ client: Client, isLast: Bool = false
    ) -> Answer {
        let number = stage(.busy, reason, request, client)
        return Answer(.busy(decision: number, milliseconds: wait.wholeMilliseconds), isLast: isLast)
    }

    /// Stages a refusal or a query and returns the number that the client is told.
    private func stage(_ decision: Record.Decision, _ reason: Reason, _ request: Record, _ client: Client) -> UInt64 {
        var record = complete(request, client)
        record.decision = decision
        record.reason = reason
        let key = record.key.flatMap(KeyName.init).flatMap { policy.policy.declares($0) ? $0 : nil }
        return ledger.stageFoldable(record, of: key, in: client.crowd, now: .now)
    }

    /// Adds to the record who asked, and under which policy.
    func complete(_ request: Record, _ client: Client) -> Record {
        var record = request
        complete(&record, client)
        return record
    }

    private func complete(_ record: inout Record, _ client: Client) {
        record.policy = digest
        record.peer = client.peer
        record.user = policy.policy.userNames[client.uid]
    }
}
