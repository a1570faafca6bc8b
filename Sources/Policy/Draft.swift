// A policy while its lines are read.
//
// Must never be asked who may have what: it may still have faults.

internal import Wire

struct Draft {
    var tables = Tables()
    private(set) var statusPermits: [StatusPermit] = []
    private(set) var statusOf: [Identity: Int] = [:]
    private(set) var statusOfUnits: [Int] = []
    private(set) var nevers: [KeyName: [Exclusion]] = [:]
    /// What the kernel shows for each uid and each gid that it cannot express here. A line about one of them is about
    /// nobody.
    var nobodies: Set<Identity> = []
    private(set) var bounds: [Identity: Bounds] = [:]
    private(set) var boundsOfEachUser = Bounds()
    private(set) var userNames: [UInt32: String] = [:]

    mutating func add(_ permit: StatusPermit) {
        statusOf[permit.identity] = statusPermits.count
        if permit.identity.unit != nil { statusOfUnits.append(statusPermits.count) }
        statusPermits.append(permit)
    }

    func statusPermit(of identity: Identity) -> StatusPermit? { statusOf[identity].map { statusPermits[$0] } }

    mutating func add(_ never: Exclusion) { nevers[never.key, default: []].append(never) }

    /// Sets a limit. If `identity` is nil, it holds for each user that no other line is about.
    mutating func setBound(_ bound: WritableKeyPath<Bounds, Int?>, to number: Int, for identity: Identity?) {
        if let identity {
            bounds[identity, default: Bounds()][keyPath: bound] = number
        } else {
            boundsOfEachUser[keyPath: bound] = number
        }
    }

    mutating func setName(_ name: String, of uid: UInt32) { userNames[uid] = name }
}
