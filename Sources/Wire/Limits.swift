// Every bound of the program, in one place; keybrokerd(8) lists the same.

/// What is too long, too many, too fast or too late.
package enum Limits {
    // MARK: Packets

    /// The longest packet either side sends, in bytes.
    package static let packetBytes = 4096

    // MARK: Clients

    /// Connections at a time, all callers together, where `--max-connections` says nothing else.
    package static let connections = 1024
    /// Connections at a time per uid, where the policy sets no `limit`; at most a quarter of all.
    package static let connectionsPerUser = 64
    /// The same of a uid that no line of the policy names, nor a group of its.
    package static let connectionsPerStranger = 1
    /// Connections that are kept for administrators; at most a 32nd of all.
    package static let administratorsPlaces = 16
    /// Replies with descriptors that a uid may leave unread at a time; at most a quarter of all connections.
    package static let unreadPerUser = 64
    /// Requests a second per uid, where the policy sets no `limit`.
    package static let requestsPerSecond = 100
    /// How many supplementary groups of any caller are read without further ado; how often in a second those of a
    /// caller who has more, and whose uid no line names; and how many requests that counts as.
    package static let groupsReadFreely = 1024, callersWithManyGroupsPerSecond = 20, requestsForManyGroups = 20
    /// How long a connection may stay without a granted request.
    package static let idle = Duration.seconds(30)
    /// How long a caller is told to wait where a limit on connections, or the system, was exhausted.
    package static let busy = Duration.milliseconds(250)
    /// When a connection that ends with an unread reply is looked at again: twice as late each time.
    package static let firstLook = Duration.milliseconds(10), lastLook = Duration.seconds(1)
    /// How long a daemon that ends still waits for callers that it let in to ask.
    package static let drain = Duration.seconds(1)
    /// Connections waiting to be accepted.
    package static let backlog = 512
    /// Descriptors that the daemon keeps for itself beside those of its clients.
    package static let reservedDescriptors = 64
    /// Ways to keys that are remembered as trusted; each costs a descriptor.
    package static let rememberedPaths = 256
    /// How long such a way is believed without walking it anew, for changes that nobody is told of: a
    /// mount on top of it, another host's on a network file system.
    package static let remembered = Duration.seconds(10)

    // MARK: Records of what was refused or only asked; more are counted and folded

    /// Records of one uid: so many at once, and one a second from then on. With those that say what was folded, one
    /// for each of seven kinds, a uid never has more than 20 in a second, grants and corrections left aside.
    package static let recordsAtOnce = 12
    /// Of these, records that are about no key: so many at once, and one in two seconds from then on.
    package static let recordsWithoutKeyAtOnce = 6
    /// For how long they are counted before a record says how many they were.
    package static let folding = Duration.seconds(1)
    /// Records of all uids together that no line names, and of all that lines name by a group alone: so many at once,
    /// and so many a second from then on.
    package static let crowdRecordsAtOnce = 200, crowdRecordsPerSecond = 2
    /// For how long these are counted.
    package static let crowdFolding = Duration.seconds(60)
    /// How long it takes until a log that could not be written is tried again, if nobody asks for anything.
    package static let retry = Duration.seconds(1)

    // MARK: Grants

    /// Grants to all uids together that lines name by a group alone, beside the first of each uid in the last half hour:
    /// so many at once, and so many a second from then on.
    package static let groupGrantsAtOnce = 1000, groupGrantsPerSecond = 20
    /// For how long it is remembered that such a uid had one, at least; and of how many uids.
    package static let firstGrant = Duration.seconds(1800), firstGrants = 100_000

    // MARK: Lists

    /// How many names of a list cost as much as a request.
    package static let namesPerRequest = 100
    /// How many lists are kept, and how many names in all of them.
    package static let lists = 256, keptNames = 200_000

    // MARK: The policy

    /// Keys outside of the sandbox that are listed at a start and at a reload.
    package static let keysOutsideListed = 20

    /// The longest line, in bytes.
    package static let policyLineBytes = 1024
    /// All files together, in bytes.
    package static let policyBytes = 16 << 20
    /// How many of its errors, and of its warnings, are listed; the rest are counted.
    package static let policyErrors = 100, policyWarnings = 100
    /// The numbers that a `limit` accepts.
    package static let policyConnections = 1...65_536
    package static let policyRequests = 1...1_000_000

    /// How long the name service may take to answer for one name.
    package static let nameLookup = Duration.seconds(10)

    // MARK: The log's readers

    /// How many names of keys that there are not a summary tells apart.
    package static let unknownKeys = 10_000
    /// How many grants of one caller and key can still turn out not to have been delivered.
    package static let rememberedGrants = 64

    // MARK: The client

    /// The largest key or certificate file that the library reads into memory, in bytes.
    package static let keyBytes = 1 << 20
    /// The longest that a client believes it is to wait where the broker is busy; longer is taken for that.
    package static let longestBusy = Duration.seconds(3_600)
    /// How many names of a list, and pages of a status, a client takes.
    package static let listedNames = 1_000_000, statusPages = 16_384
    /// How long a client waits for a reply, and for the whole of a list.
    package static let reply = Duration.seconds(10)
}
