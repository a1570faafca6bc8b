// Decides what the service manager may have for a unit (LoadCredential=).
//
// The manager asks as root, and says by the name of its socket for which unit. It asks from within that unit: the
// process that connects becomes the unit's first one. So the unit counts only if the kernel says the same. The policy is
// asked about the unit alone. Must never believe the name of a socket. Must never grant anything without a record.

internal import Audit
package import Kernel
internal import Keys
internal import Policy
internal import PolicyLoading
internal import Wire

/// Counts what is asked and sent for each unit.
package struct CredentialCounts {
    /// How many credentials are being sent to each unit.
    private(set) var sending: [String: Int] = [:]
    /// How many each unit has asked for in this period, which ends at `turnsAt`.
    private var asked: [String: Int] = [:]
    private var turnsAt = Instant.boot
    /// Where the service manager connects, for the status. Nil if it cannot.
    package var place: String?

    /// Counts a question. Returns false if the unit has asked too often.
    fileprivate mutating func ask(_ unit: String, now: Instant) -> Bool {
        if turnsAt <= now {
            asked.removeAll(keepingCapacity: true)
            turnsAt = now.after(.seconds(1))
        }
        let had = asked[unit] ?? 0
        guard had < Limits.credentialsPerSecond else { return false }
        asked[unit] = had + 1
        return true
    }

    fileprivate mutating func begin(_ unit: String) { sending[unit, default: 0] += 1 }

    fileprivate mutating func end(_ unit: String) {
        let left = (sending[unit] ?? 1) - 1
        sending[unit] = left > 0 ? left : nil
    }

    /// How many credentials are being sent.
    var total: Int { sending.values.reduce(0, +) }
}

extension Broker {
    /// Decides on a connection to the credential socket. The answer counts only after a commit.
    /// - Parameters:
    ///   - peerName: the name of the peer's socket.
    ///   - mayWait: whether it may be asked again a moment later.
    ///   - process: what `/proc` says of the peer, or nil if that is not certain.
    /// - Returns: nil if a file is not opened yet. Ask again a moment later.
    package func credential(
        _ peer: PeerCredentials, from peerName: [UInt8], mayWait: Bool,
        process: (Int32) throws(Failure) -> (comm: String?, unit: String?)?
    ) -> Credential? {
        var request = Record(.request)
        request.verb = .credential
        request.policy = digest
        request.peer = Peer(peer)
        guard peer.uid == 0 else {
            return refuse(stranger: request, "uid \(peer.uid) is not root", as: .uid(peer.uid), in: .strangers)
        }
        guard let address = CredentialAddress(socketName: peerName) else {
            return refuse(stranger: request, "its socket has another name than the service manager's", as: .otherUnits)
        }
        var known = Peer(peer)
        do throws(Failure) {
            if let pid = peer.pid, let facts = try process(pid) { (known.comm, known.unit) = (facts.comm, facts.unit) }
        } catch {
            request.detail = error.description
            return refuse(request, .busy, .descriptorsExhausted, as: .otherUnits)
        }
        request.peer = known
        guard known.unit == address.unit else {
            let place = known.unit.map { "is in \($0)" } ?? "is in no unit that the kernel names"
            return refuse(stranger: request, "it asks for \(address.unit) and \(place)", as: .otherUnits)
        }
        guard hasPolicy else {
            request.key = KeyName(address.id)?.description
            return refuse(request, .unavailable, .policyFaulty, as: .unit(address.unit))
        }
        let isNamed = policy.policy.permits(unit: address.unit)
        let subject = isNamed ? Folding.Subject.unit(address.unit) : .otherUnits
        guard let (name, form) = CredentialForm.read(address.id, under: policy.policy) else {
            request.detail = "the ID '\(address.id)' is no name of a key"
            return refuse(request, .malformed, .badKeyName, as: subject)
        }
        request.key = name.description
        guard credentials.ask(isNamed ? address.unit : "", now: .now) else {
            return refuse(request, .busy, .limitRequests, as: subject)
        }
        switch policy.policy.verdict(on: name, for: Caller(unitAlone: address.unit)) {
        case .denied(let denial): return refuse(request, .denied, denial.reason, as: subject)
        case .permitted(let key, let rule):
            request.rule = rule.location.description
            guard credentials.sending[address.unit] ?? 0 < Limits.credentialsPerUnit else {
                return refuse(request, .busy, .limitConnections, as: subject)
            }
            return open(key, form, request, for: address.unit, mayWait: mayWait)
        }
    }

    private func open(
        _ key: Key, _ form: CredentialForm, _ request: Record, for unit: String, mayWait: Bool
    ) -> Credential? {
        var record = request
        func unavailable(_ reason: Reason, _ detail: String) -> Credential {
            record.detail = detail
            let decision: Record.Decision =
                reason == .descriptorsExhausted || reason == .fileSlow ? .busy : .unavailable
            return refuse(record, decision, reason, as: .unit(unit))
        }
        guard form == .key || key.certificate != nil else {
            return unavailable(.fileMissing, "the policy names no certificate of \(key.name)")
        }
        do throws(TrustError) {
            let files = form.files(of: try keys.handOutHere(key))
            if let fault = CredentialForm.fault(in: files) { return unavailable(.fileSize, fault) }
            switch form {
            case .key: record.file = files.first?.handedOver
            case .certificate: record.certificate = files.first?.handedOver
            case .bundle: (record.certificate, record.file) = (files.first?.handedOver, files.last?.handedOver)
            }
            record.decision = .granted
            record.reason = .permitted
            let number = ledger.stage(record, of: key.name)
            credentials.begin(unit)
            return Credential(granted: number, files, record: record, for: unit)
        } catch {
            if error.kind == .late, mayWait { return nil }
            return unavailable(Reason(error), error.description)
        }
    }

    /// Refuses somebody who is not the service manager.
    private func refuse(
        stranger request: Record, _ detail: String, as subject: Folding.Subject, in crowd: Folding.Crowd? = nil
    ) -> Credential {
        var record = request
        record.detail = detail
        return refuse(record, .denied, .notServiceManager, as: subject, in: crowd)
    }

    private func refuse(
        _ request: Record, _ decision: Record.Decision, _ reason: Reason, as subject: Folding.Subject,
        in crowd: Folding.Crowd? = nil
    ) -> Credential {
        var record = request
        record.decision = decision
        record.reason = reason
        let key = record.key.flatMap(KeyName.init).flatMap { policy.policy.declares($0) ? $0 : nil }
        return Credential(
            refused: ledger.stageFoldable(record, of: key, for: subject, in: crowd, now: .now))
    }

    /// Notes that a credential is not being sent any more.
    /// - Parameter fault: why it was not delivered whole; nil if it was. A correction is then staged.
    package func end(_ credential: Credential, undelivered fault: String?) {
        if let unit = credential.unit { credentials.end(unit) }
        guard let fault, var record = credential.granted else { return }
        record.decision = .unavailable
        record.reason = .notDelivered
        record.detail = "decision \(credential.decision) was not delivered: \(fault)"
        record.of = credential.decision
        record.file = nil
        record.certificate = nil
        _ = ledger.stage(record, of: record.key.flatMap(KeyName.init))
    }
}

/// What of a key a credential is.
private enum CredentialForm {
    case key, certificate, bundle

    /// The key and the form that an ID means. The name of a key goes first.
    static func read(_ id: String, under policy: Policy) -> (KeyName, CredentialForm)? {
        let whole = KeyName(id)
        if let whole, policy.declares(whole) { return (whole, .key) }
        for (suffix, form) in [(".certificate", CredentialForm.certificate), (".bundle", .bundle)] {
            guard id.hasSuffix(suffix), let name = KeyName(String(id.dropLast(suffix.utf8.count))) else { continue }
            return (name, form)
        }
        return whole.map { ($0, .key) }
    }

    /// The files in the order in which they are sent. The others are closed.
    func files(of handOut: consuming HandOut) -> [CredentialFile] {
        var files: [CredentialFile] = []
        let (key, certificate, isCopied) = (handOut.key, handOut.certificate, handOut.isCopied)
        if self != .key, let certificate, let descriptor = handOut.takeCertificate() {
            files.append(CredentialFile(descriptor, certificate, isCopied: isCopied))
        }
        if self != .certificate, let descriptor = handOut.takeKey() {
            files.append(CredentialFile(descriptor, key, isCopied: isCopied))
        }
        return files
    }

    /// Why the files can be no credential, or nil if they can.
    static func fault(in files: [CredentialFile]) -> String? {
        let sizes = files.map { $0.file.status.size }
        if sizes.contains(0) { return "a file of it is empty, as the answer to a refusal is" }
        let all = sizes.reduce(0, +) + sizes.count - 1
        return all > Limits.credentialBytes
            ? "it has \(all) bytes, and a credential at most \(Limits.credentialBytes)" : nil
    }
}
