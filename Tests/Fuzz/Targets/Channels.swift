// Packets of signing channels: requests of services, and what a signer answers.

import Wire

func tryChannels(_ bytes: [UInt8]) throws(Broken) {
    switch Result(catching: { () throws(ChannelRequest.Malformed) in try ChannelRequest(bytes) }) {
    case .success(let request): try tried(request, bytes)
    case .failure(let fault):
        try require(fault.sequence == 0 || bytes.count >= 6, "a sequence comes of a packet that is long enough")
    }
    guard let reply = try? ChannelReply(bytes) else { return }
    try require(reply.packet == bytes, "a reply encodes to the bytes it was decoded from")
    try require(bytes.count <= ChannelReply.longest, "a reply is no longer than its longest packet")
    switch reply {
    case .hello(_, let publicKey):
        try require(reply.sequence == nil && !publicKey.isEmpty, "the first packet has a public key and no sequence")
    case .signature(_, let signature): try require(!signature.isEmpty, "a signature has bytes")
    case .denied(_, let reason), .malformed(_, let reason), .busy(_, _, let reason):
        try require(isPrintable(reason.utf8), "a reason is printable")
    }
}

private func tried(_ request: ChannelRequest, _ bytes: [UInt8]) throws(Broken) {
    try require(request.packet == bytes, "a request encodes to the bytes it was decoded from")
    guard case .sign(_, _, let message) = request else { return }
    try require(message.count <= Limits.channelMessageBytes, "a message is no longer than its limit")
    try require(SigningUses.anything.permits(message), "any message may be signed if nothing is said")
    let isServers = SigningUses.tlsServer.permits(message)
    let isClients = SigningUses.tlsClient.permits(message)
    try require(!(isServers && isClients), "a handshake is a server's or a client's")
    try require(
        SigningUses([.tlsServer, .tlsClient]).permits(message) == (isServers || isClients),
        "two uses permit what each of them permits")
}
