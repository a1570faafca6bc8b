// The broker: the answer to a request, from its bytes to the record that the log will hold.
//
// Permission before existence: what a file is like is asked only for those who may have it. Audit before
// grant: what is answered here is sent only after `commit`. Must never touch a socket, wait or print.

package import Audit
package import Kernel
internal import Policy
package import PolicyLoading
package import Wire

/// What came from a client, to be answered.
package enum Packet {
    case bytes(ArraySlice<UInt8>)
    /// It cannot be a request, whatever its bytes are.
    case malformed(Request.Malformed)
}

/// Decides, opens and records. The one who calls it sends.
package final class Broker {
    package internal(set) var policy: LoadedPolicy {
        didSet { keysOutside = policy.keys(outsideOf: confinement, owners: owners) }
    }
    /// The files of the policy's keys that lie where the daemon keeps itself from reading.
    package private(set) var keysOutside: [(key: KeyName, path: String)] = []
    let log: AuditLog
    let keys: KeyStore
    let overflow: OverflowIDs
    private let owners: TrustedOwners
    let confinement: Confinement
    var allowance = Allowance()
    /// What the next commit puts into the log.
    var staged: [Recorded] = []
    var outage: Outage?
    var tally = Tally()
    let life = Lifetime()

    package init(
        policy: LoadedPolicy, log: AuditLog, owners: TrustedOwners, watch: ChangeWatch?,
        confinement: Confinement = Confinement()
    ) {
        self.policy = policy
        self.log = log
        self.owners = owners
        self.confinement = confinement
        keys = KeyStore(owners: owners, watch: watch, confinement: confinement)
        overflow = .ofThisKernel()
    }

    // MARK: The answer to a request

    /// Decides a request. The answer counts once `commit` has returned.
    /// - Parameter load: how busy the one who asks is, for a status.
    package func answer(_ packet: Packet, from client: Client, under load: @autoclosure () -> Load) -> Answer {
        let request: Request
        switch decode(packet) {
        case .success(let decoded): request = decoded
        case .failure(let malformed): return refuse(malformed, client)
        }
        var record = Record(.request)
        record.verb = request.verb
        record.key = request.key

        let now = Instant.now
        let bounds = policy.policy.bounds(for: client.caller)
        if let wait = allowance.waitBeforeRequest(of: client.peer.uid, perSecond: bounds.requests, now: now) {
            return busy(Reason.limitRequests, milliseconds: wait, record, client)
        }
        switch request {
        case .get(let name): return key(name, record, client)
        case .list: return query(.names([]), names: policy.policy.keys(for: client.caller), record, client)
        case .version: return query(.version(version), record, client)
        case .status(let name):
            guard client.isAdministrator else { return notAdministrator(record, client) }
            return query(.status(name.map(statusOfKeys) ?? status(under: load())), record, client)
        }
    }

    private func key(_ name: KeyName, _ request: Record, _ client: Client) -> Answer {
        var record = request
        switch policy.policy.verdict(on: name, for: client.caller) {
        case .denied(let denial):
            record.decision = .denied
            record.reason = denial.rawValue
            return Answer(.denied(decision: number(of: record, client)))

        case .permitted(let key, let rule):
            record.rule = rule.place.description
            do throws(Distrust) {
                let files = try keys.handOut(key)
                record.decision = .granted
                record.reason = Reason.permitted
                record.file = HandedOver(path: files.key.path, status: files.key.status)
                record.certificate = files.certificateHandedOver
                return Answer(granted: stage(record, client), files, record: record)
            } catch { return notHandedOver(error, record, client) }
        }
    }

    /// Permitted, but there is nothing to hand over: for want of descriptors, or for what the file is.
    private func notHandedOver(_ distrust: Distrust, _ request: Record, _ client: Client) -> Answer {
        var record = request
        record.detail = distrust.description
        let reason = Reason.of(distrust)
        if distrust.kind == .shortage {
            return busy(reason, milliseconds: Limits.busyMilliseconds, record, client)
        }
        record.decision = .unavailable
        record.reason = reason
        return Answer(.unavailable(decision: stage(record, client), reason: reason))
    }

    /// The status is for those who could read the policy and the log anyway.
    private func notAdministrator(_ request: Record, _ client: Client) -> Answer {
        var record = request
        record.decision = .denied
        record.reason = Reason.notAdministrator
        return Answer(.denied(decision: number(of: record, client)))
    }

    private func decode(_ packet: Packet) -> Result<Request, Request.Malformed> {
        switch packet {
        case .malformed(let malformed): .failure(malformed)
        case .bytes(let bytes): Result { () throws(Request.Malformed) in try Request(bytes) }
        }
    }

    private func refuse(_ malformed: Request.Malformed, _ client: Client) -> Answer {
        var record = Record(.request)
        record.decision = .malformed
        record.reason = malformed.reason
        let number = number(of: record, client)
        return Answer(.malformed(decision: number, reason: malformed.description), isLast: true)
    }

    private func query(_ reply: Reply, names: [KeyName] = [], _ request: Record, _ client: Client) -> Answer {
        var record = request
        record.decision = .granted
        record.reason = Reason.permitted
        _ = number(of: record, client)
        return Answer(reply, names: names)
    }

    func busy(
        _ reason: String, milliseconds: Int, _ request: Record, _ client: Client, isLast: Bool = false
    ) -> Answer {
        var record = request
        record.decision = .busy
        record.reason = reason
        return Answer(.busy(decision: number(of: record, client), milliseconds: milliseconds), isLast: isLast)
    }
}

extension Request {
    fileprivate var verb: Record.Verb {
        switch self {
        case .get: .get
        case .list: .list
        case .version: .version
        case .status: .status
        }
    }

    fileprivate var key: String? {
        if case .get(let name) = self { name.description } else { nil }
    }
}

extension HandOut {
    fileprivate var certificateHandedOver: HandedOver? {
        switch certificate {
        case .some(let file): HandedOver(path: file.path, status: file.status)
        case .none: nil
        }
    }
}
