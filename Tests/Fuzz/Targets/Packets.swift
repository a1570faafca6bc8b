// Packets of callers and of brokers.

import Wire

func tryPackets(_ bytes: [UInt8]) throws(Broken) {
    if let request = try? Request(bytes) {
        let packet = request.packet
        try require(bytes == packet || bytes == packet + [0x0A], "a request encodes to the bytes it was decoded from")
    }
    guard let reply = try? Reply(bytes) else { return }
    let packet = reply.packet
    try require((try? Reply(packet)) == reply, "a reply decodes to what was encoded")
    try require(packet.allSatisfy { $0 == 0x0A || (0x20...0x7E).contains($0) }, "a reply is printable")
    switch reply {
    case .names(let names): try sendable(names)
    case .status(let page):
        var whole = StatusPage()
        whole.append(page)
        whole.append(page)
        try require(whole.lines.count >= page.lines.count, "a joined page has at least the lines of the last one")
        _ = (page.next, page.nextHolders)
        for line in page.lines { try require(line.known?.rawValue ?? line.name == line.name, "a name keeps its text") }
    case .busy(_, let milliseconds):
        try require((0...3_600_000).contains(milliseconds), "a wait is at most one hour")
    default: break
    }
}

/// A list of any names fits into packets, and none gets lost.
private func sendable(_ names: [KeyName]) throws(Broken) {
    var rest = names[...]
    var sent: [KeyName] = []
    while !rest.isEmpty {
        let packet = Reply.nextPacket(of: &rest)
        try require(packet.packet.count <= Limits.packetBytes, "a list fits into its packets")
        guard case .names(let part) = packet, !part.isEmpty else {
            throw Broken(description: "a packet of a list is empty before its end")
        }
        sent += part
    }
    try require(sent == names, "a list is sent whole")
}
