// Every limit of the program in one place. Must never differ from keybrokerd(8), which lists the same limits.

/// The limits on lengths, numbers, rates and times.
package enum Limits {
    // MARK: Packets

    /// The longest packet that either side sends, in bytes.
    package static let packetBytes = 4096

    // MARK: Clients

    /// Simultaneous connections of all callers together, unless `--max-connections` sets another number.
    package static let connections = 1024
    /// Simultaneous connections per uid, unless the policy sets a `limit`. Never more than a quarter of all.
    package static let connectionsPerUser = 64
    /// Simultaneous connections of a uid if no line of the policy names it or one of its groups.
    package static let connectionsPerStranger = 1
    /// Connections that are reserved for administrators. Never more than a 32nd of all.
    package static let administratorsPlaces = 16
    /// Unread replies with descriptors per uid. Never more than a quarter of all connections.
    package static let unreadPerUser = 64
    /// Requests per second and uid, unless the policy sets a `limit`.
    package static let requestsPerSecond = 100
    /// For how long a user has only a part of its requests after one of its clients asked before the moment that it was
    /// told, and which part. The same holds if connections of it were closed without a reply for `longestCrowd`, without a
    /// pause. Each grant has a record, so who does not wait would fill the log the fastest.
    package static let longestCrowd = Duration.seconds(10)
    package static let slowed = Duration.seconds(1), slowedPart = 4
    /// A caller may have `groupsReadFreely` supplementary groups before limits apply to reading them. If a caller has
    /// more and no line of the policy names its uid, its groups are read only for `callersWithManyGroupsPerSecond`, and
    /// each time counts as `requestsForManyGroups` requests.
    package static let groupsReadFreely = 1024, callersWithManyGroupsPerSecond = 20, requestsForManyGroups = 20
    /// If lines permit keys to units: for how many uids in a second it is counted how often the daemon looks for their
    /// unit. Each may have as many looks as requests.
    package static let unitLookUsers = 4096
    /// How long a connection may stay open without a granted request.
    package static let idle = Duration.seconds(30)
    /// How long a caller is told to wait if a limit on connections is reached, or the system is short of a resource.
    package static let busy = Duration.milliseconds(250)
    /// A connection that ended with an unread reply is checked after the first interval. Each further interval is twice
    /// as long, up to the last.
    package static let firstLook = Duration.milliseconds(10), lastLook = Duration.seconds(1)
    /// When the daemon ends: how long it waits for requests of callers that are connected already.
    package static let drain = Duration.seconds(1)
    /// Connections that wait to be accepted. The kernel has one queue for all uids and serves who came first, so during a
    /// flood everybody waits as long as the queue is: some 7 microseconds for each, nearly all of them the kernel's. Callers
    /// that find it full wait in `connect(2)`, but a non-blocking one fails, and so the queue is no shorter than this.
    package static let backlog = 128
    /// How many refused connections of a uid get a reply: so many at once, and so many a second. Others are closed without
    /// one.
    package static let refusalsPerSecond = 100
    /// The longest wait that a caller is told if others of its uid were refused before it.
    package static let longestPromise = Duration.seconds(5)
    /// How many requests are answered in one turn, and how many of one uid while others have asked as well. Also how many
    /// new connections are taken in one turn.
    package static let requestsPerTurn = 64, requestsOfUserPerTurn = 8
    /// How many new connections are closed without a reply in one turn: somebody who connects without end fills the queue
    /// with them.
    package static let surplusPerTurn = 16
    /// How many connections may wait to be closed whose callers have sent descriptors, before no more are accepted: so many at
    /// least, and half of the descriptors that are not needed otherwise. And when it is tried again.
    package static let closing = 32, closingAgain = Duration.milliseconds(5)
    /// Descriptors that the daemon reserves for itself, besides those of its clients.
    package static let reservedDescriptors = 64
    /// Ways to keys, and to their directories, that are remembered as trusted. Each one costs a descriptor at most.
    package static let rememberedPaths = 256
    /// How long a remembered path is trusted before it is checked again. inotify does not report every change: for
    /// example a new mount on the path, or a change on a network file system by another host.
    package static let remembered = Duration.seconds(10)

    // MARK: Records of refusals and queries; events beyond these limits are counted and folded into one record

    /// Records of one uid: this many at once, then one per second. A folded record of each of the six kinds can be
    /// added. So a uid never has more than 19 per second, without grants and corrections.
    package static let recordsAtOnce = 12
    /// Of these, records that are about no key: this many at once, then one every two seconds.
    package static let recordsWithoutKeyAtOnce = 6
    /// How long events are counted before a folded record states their number.
    package static let folding = Duration.seconds(1)
    /// How long it is at least from one look at all uids, for counts whose time is over, to the next.
    package static let foldingPause = Duration.milliseconds(100)
    /// Records of all uids together that no line of the policy names, of all uids together that lines name only by a
    /// group, and of all that they name only by a unit: for each, this many at once, then so many per second.
    package static let crowdRecordsAtOnce = 200, crowdRecordsPerSecond = 2
    /// How long events of these uids are counted before a folded record states their number.
    package static let crowdFolding = Duration.seconds(60)
    /// How long granted queries of the status are counted before a folded record states their number.
    package static let statusFolding = Duration.seconds(86_400)
    /// How many callers of such queries that only a group or a unit makes known are counted one by one. The rest of them
    /// is counted together.
    package static let statusCallers = 64
    /// When the log is tried again after a write failed, if no request comes before.
    package static let retry = Duration.seconds(1)
    /// How often it is looked at whether the log was rotated, while there is something to do.
    package static let logLook = Duration.seconds(1)

    // MARK: Grants

    /// Grants to all uids together that lines name only by a group: so many at once, and so many a second from then on.
    package static let groupGrantsAtOnce = 1000, groupGrantsPerSecond = 20
    /// How many of these one uid can have at once, and one a second from then on, before it leaves half to the others.
    package static let groupGrantsOfOneAtOnce = 20
    /// How many grants of each such uid are not counted among these in a period, for how many uids, and how long a
    /// period is.
    package static let freeGroupGrants: UInt8 = 4, freeGroupGrantUsers = 100_000
    package static let freeGroupGrantPeriod = Duration.seconds(1800)

    // MARK: Watches

    /// Simultaneous watches per uid, unless the policy sets a `limit`. Never more than an eighth of all connections.
    package static let watchesPerUser = 32
    /// The numbers that `limit … watches` accepts.
    package static let policyWatches = 1...65_536
    /// A rotation is announced when the key has not changed for the first time. If it keeps changing, it is announced
    /// after the second.
    package static let settling = Duration.milliseconds(100), longestSettling = Duration.milliseconds(500)
    /// How often a watched key is looked at without a report of a change: if inotify watches its whole path, and if not.
    package static let watchedAgain = Duration.seconds(10), unwatchedAgain = Duration.seconds(1)
    /// How many watched keys are looked at in one turn, and how many watching connections are told in one turn. Requests
    /// are answered between two turns.
    package static let keysPerTurn = 256, watchersPerTurn = 128
    /// When to try again to tell a watching connection of a rotation if the system is short of a resource.
    package static let watcherAgain = Duration.milliseconds(250)

    // MARK: Credentials

    /// How many credentials are sent at the same time. Others wait to be accepted.
    package static let credentials = 16
    /// How many of them to one unit. Others are refused.
    package static let credentialsPerUnit = 4
    /// How long one may take.
    package static let credential = Duration.seconds(10)
    /// When a credential is asked for again whose file is not opened yet.
    package static let credentialAgain = Duration.milliseconds(50)
    /// How many a unit may ask for in a second.
    package static let credentialsPerSecond = 100
    /// The largest credential, in bytes. systemd accepts no larger one.
    package static let credentialBytes = 1 << 20

    // MARK: Signing channels

    /// The longest message that is signed, in bytes.
    package static let channelMessageBytes = 16_384
    /// How long a client waits for a signature.
    package static let signature = Duration.seconds(1)
    /// The open channels of one user, unless the policy sets a `limit`, and of all together. Those whom only a group makes
    /// known have half of all at most.
    package static let channelsPerUser = 64
    package static let channels = 4096
    /// The numbers that `limit … channels` accepts.
    package static let policyChannels = 1...channels
    /// How soon the daemon tries again to tell the signer of an end for which it had no room.
    package static let signerLook = Duration.milliseconds(1)
    /// How long the daemon waits for the signer to open a channel.
    package static let channelOpening = Duration.seconds(5)
    /// How many more ends one channel can have: for workers and threads of the service.
    package static let channelClones = 64
    /// The ends of all channels of one user.
    package static let channelEndsPerUser = 2048
    /// The ends of all channels together. Fewer, if the signer may not have as many descriptors.
    package static let channelEnds = 16_384
    /// How many descriptors that one user has sent on its channels, or ends of its, may wait to be closed. With more, its
    /// channels end.
    package static let channelClosingPerUser = channelEndsPerUser + 512
    /// The same of all users together. With more, the signer ends, and is replaced.
    package static let channelClosing = 131_072
    /// How many channels may wait until their keys are read: those of one user, and all.
    package static let channelOrdersPerUser = 128, channelOrders = 2048
    /// The numbers that `limit … signatures` accepts.
    package static let policySignatures = 1...1_000_000
    /// When a signer that ended by a fault is replaced for the first time. Each further time takes twice as long, up to
    /// the last.
    package static let firstSignerAgain = Duration.milliseconds(100), lastSignerAgain = Duration.seconds(5)

    // MARK: Lists

    /// How far ahead of its rate a uid can be for what costs more than a request.
    package static let longestDebt = Duration.seconds(10)

    /// This many names of a list count as one request.
    package static let namesPerRequest = 100
    /// The number of lists that are kept, and of names in all of them together.
    package static let lists = 256, keptNames = 200_000

    // MARK: The policy

    /// Keys outside of the sandbox that are listed at a start and at a reload.
    package static let keysOutsideListed = 20

    /// The longest line, in bytes.
    package static let policyLineBytes = 1024
    /// The size of all files together, in bytes.
    package static let policyBytes = 16 << 20
    /// How many errors, and how many warnings, are listed. The rest are only counted.
    package static let policyErrors = 100, policyWarnings = 100
    /// How many pairs of a `never` line and a permission for the same key are compared. A longer policy is faulty.
    package static let policyNeverPairs = 1_000_000
    /// The numbers that a `limit` accepts.
    package static let policyConnections = 1...65_536
    package static let policyRequests = 1...1_000_000

    /// How often a key and its certificate are opened at most if their directories change meanwhile. Then the client is
    /// told to come back.
    package static let pairAttempts = 4
    /// How long the process that opens keys may take for one key before that is a fault. Until then the caller is told to
    /// come back.
    package static let opening = Duration.seconds(1)
    /// How long the loop waits for a key on a file system that another program or computer serves. If that was not
    /// enough, the loop waits for none of that file system's keys for a while: for the second time if the file system
    /// has answered within the first one again.
    package static let openingWait = Duration.milliseconds(20), slowFileSystem = Duration.seconds(10),
        fastAgain = Duration.seconds(1)
    /// How long a key is kept that was opened later than that, for the next who asks for it.
    package static let openedKept = Duration.seconds(1)
    /// How long that process pauses before it tries again to tell the daemon something.
    package static let openerPause = Duration.milliseconds(1)
    /// How many keys of one such file system are asked for at a time, and how many file systems are waited for at a time.
    package static let openingQuestions = 8, openingThreads = 8
    /// How long a daemon without a policy waits before it tries the faulty one again by itself.
    package static let policyRetry = Duration.seconds(10)
    /// How long a policy that was read waits for the process that opens keys to read it too, before it comes into force
    /// all the same.
    package static let openerReading = Duration.seconds(5)
    /// After a reload: how many names of keys are looked at in one turn, as they may have left the policy.
    package static let namesPerSweep = 1000
    /// How long the name service may take for one name.
    package static let nameLookup = Duration.seconds(10)

    // MARK: The log's readers

    /// How often a reader looks again at a record that is not written to its end, or lists files that are being rotated.
    package static let readersLooks = 5
    /// How long it waits between two looks.
    package static let readersPause = Duration.milliseconds(10)
    /// How many names of nonexistent keys a summary lists separately.
    package static let unknownKeys = 10_000
    /// For each caller and key, how many grants are remembered that may later turn out to be undelivered.
    package static let rememberedGrants = 64

    // MARK: The client

    /// The largest key or certificate file that the library reads into memory, in bytes.
    package static let keyBytes = 1 << 20
    /// The longest wait that a client accepts from a busy broker. A longer one is shortened to this.
    package static let longestBusy = Duration.seconds(3_600)
    /// How many names of a list, and how many pages of a status, a client accepts.
    package static let listedNames = 1_000_000, statusPages = 16_384
    /// How long a client waits for a reply or for a whole list.
    package static let reply = Duration.seconds(10)
    /// How long a client waits for a reload, as long as the broker says that it is reading its policy.
    package static let reload = Duration.seconds(60)

    // MARK: Commands that are given keys

    /// How long a key and a certificate that do not belong together are asked for again, and the first pause in between,
    /// each of which is twice as long as the one before.
    package static let pairSettles = Duration.seconds(2), firstPairLook = Duration.milliseconds(50)
    /// The first and the longest pause between two requests for a key that the broker cannot hand over yet.
    package static let firstMissingLook = Duration.milliseconds(250), lastMissingLook = Duration.seconds(2)
    /// How long the command of --on-rotate-run may run before it is ended.
    package static let rotationCommand = Duration.seconds(90)
    /// How often to look whether the command is prepared for the signal by now.
    package static let notExpectedLook = Duration.milliseconds(100)
    /// How long the command is taken for one that still starts if it cannot be seen for what it is prepared. systemd gives
    /// services as long.
    package static let unseenStart = Duration.seconds(90)
    /// How long the broker has to be away, or a signal has to wait, before that is said.
    package static let saidTrouble = Duration.seconds(10)
}
