// What a service manager says in the environment: sockets (LISTEN_*), where to report (NOTIFY_SOCKET), the watchdog. The
// bytes are lines NAME=value. JOURNAL_STREAM is not among them: it is compared as a whole, and not parsed.
//
// Must never send to a socket that somebody listens on.

import Glibc
import Kernel

func tryEnvironment(_ bytes: [UInt8]) throws(Broken) {
    var variables: [String: String] = [:]
    for line in bytes.split(separator: 0x0A) {
        // As in a real environment: a value ends at its NUL.
        let parts = line.prefix { $0 != 0 }.split(separator: UInt8(ascii: "="), maxSplits: 1)
        guard parts.count == 2 else { continue }
        variables[String(decoding: parts[0], as: UTF8.self)] = String(decoding: parts[1], as: UTF8.self)
    }
    try sockets(variables)
    if let address = variables["NOTIFY_SOCKET"], let first = address.first {
        variables["NOTIFY_SOCKET"] = "\(first)keybroker-fuzz/nobody/listens\(address.dropFirst())"
    }
    let manager = ServiceManager({ variables[$0] }, process: 12)
    manager.isAlive()
    if let interval = manager.lifeSignInterval {
        try require(interval >= .milliseconds(1) && interval <= .seconds(3600), "the watchdog hears in time")
        let isOurs = variables["WATCHDOG_PID"].map { $0 == "12" } ?? true
        try require(isOurs && variables["WATCHDOG_USEC"] != nil, "there is a watchdog of this process")
    }
}

private func sockets(_ variables: [String: String]) throws(Broken) {
    let announced: AnnouncedSockets?
    do throws(Failure) { announced = try AnnouncedSockets({ variables[$0] }, process: 12) } catch {
        return try require(error.code == EINVAL, "a malformed announcement is EINVAL, not: \(error)")
    }
    guard let announced else { return }
    try require((1...2).contains(announced.count), "there are one or two sockets")
    try require(variables["LISTEN_PID"] == "12", "the sockets are for this process")
    let names = variables["LISTEN_FDNAMES"]?.split(separator: ":", omittingEmptySubsequences: false)
    for index in 0..<announced.count {
        let isRefused: Bool
        do throws(Failure) {
            try announced.expectCredential(at: index)
            isRefused = false
        } catch { isRefused = true }
        let isNamed = names.map { index < $0.count && $0[index] == AnnouncedSockets.credentialName } ?? true
        try require(isRefused != isNamed, "a socket with another name is refused")
    }
}
