// Signing channels from end to end: who gets one, what it signs, how it ends, and what the log says.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot && installed("openssl") != nil, "needs root, and openssl"))
struct ChannelTests {
    @Test func aKeyIsLent() throws {
        let lent = try LentKeys("lent", "permit 61001 sign web rsa for tls-server\npermit 61002 key web")
        let client = try lent.client(61001)
        let opened = try client.open("web")
        #expect(opened.status == "K" && opened.descriptors == 2)
        #expect(opened.result["certificate"] as? String == "CERTIFICATE\n")
        #expect(opened.result["schemes"] as? [String] == ["0403"])
        #expect(opened.result["blocks"] as? Bool == true)
        #expect(try client.sign(3) == "K")
        #expect(try client.other("a request for a certificate") == "D")
        // Neither right includes the other.
        #expect(try PeerProcess(lent.daemon.socket, uid: 61001).ask("1Gweb").status == "D")
        #expect(try lent.client(61002).open("web").status == "D")
        #expect(try client.open("nothing").status == "D")

        let grant = try lent.daemon.record(opened.decision)
        #expect(grant["verb"] as? String == "sign" && grant["decision"] as? String == "granted")
        #expect(grant["uses"] as? String == "tls-server" && grant["generation"] as? Int == 0)
        #expect((grant["file"] as? [String: Any])?["path"] as? String == lent.folder["keys/web"])
        #expect((grant["certificate"] as? [String: Any])?["path"] as? String == lent.folder["keys/web.crt"])
        try lent.wait("channels 1")
        _ = try client.peer.step("clone")
        #expect(try client.sign() == "K")

        // It has an end when nobody has it any more.
        _ = try client.peer.step("close")
        let end = try #require(try lent.ends(1).first)
        #expect(end["of"] as? Int == opened.decision && end["reason"] as? String == "channel-closed")
        #expect(end["signatures"] as? Int == 4 && end["refused"] as? Int == 1 && end["clones"] as? Int == 1)
        #expect(end["uid"] as? Int == 61001 && end["key"] as? String == "web" && end["decision"] == nil)
        try lent.wait("channels 0")
        // The grant stays a grant.
        #expect(try lent.status().contains("requests sign granted permitted 1\n"))
        #expect(try client.open("rsa").status == "K")
        #expect(try client.sign() == "K")
    }

    @Test func aReloadEndsWhatItTakesAway() throws {
        let both = "permit 61001 sign web for tls-server\npermit 61002 sign web rsa"
        let lent = try LentKeys("reload", both)
        let (first, second, third) = (try lent.client(61001), try lent.client(61002), try lent.client(61002))
        for (client, key) in [(first, "web"), (second, "web"), (third, "rsa")] {
            #expect(try client.open(key).status == "K")
            #expect(try client.sign() == "K")
        }
        // What stays as it was goes on.
        try lent.reload(both + "\npermit 61003 key rsa")
        for client in [first, second, third] { #expect(try client.sign() == "K") }
        try lent.reload("permit 61001 sign web for tls-server tls-client\npermit 61002 sign rsa")
        #expect(try first.sign() == "end" && second.sign() == "end" && third.sign() == "K")
        let reasons = try lent.ends(2).compactMap { $0["reason"] as? String }
        #expect(Set(reasons) == ["permission-changed", "no-rule"])
        #expect(try first.open("web").status == "K")
        try lent.reload("limit 61002 signatures 5\npermit 61002 sign rsa")
        #expect(try third.sign() == "end" && first.sign() == "end")
        #expect(try third.open("rsa").status == "K")
        #expect(try third.peer.step("sign 50")["signed"] as? Int ?? 0 < 20)
    }

    @Test func whatCannotBeLent() throws {
        let lent = try LentKeys("unusable", "permit 61001 sign none web")
        let client = try lent.client(61001)
        let unusable = try client.open("none")
        #expect(unusable.status == "U" && unusable.packet.hasSuffix(" key-unusable"))
        let record = try lent.daemon.record(unusable.decision)
        #expect(record["detail"] as? String != nil && record["file"] == nil)
        try lent.folder.shell("rm keys/web")
        #expect(try client.open("web").packet.hasSuffix(" file-missing"))
        #expect(try lent.daemon.stop() == 0)

        let without = try LentKeys("without", "permit 61001 sign web", options: ["--signer", "none"])
        let none = try without.client(61001).open("web")
        #expect(none.status == "U" && none.packet.hasSuffix(" signer-unavailable"))
        #expect(try without.status().contains("signer none\n"))
    }

    /// The log says how often the key was used, also if the daemon ends; and nothing of it outlives the daemon.
    @Test func aStopEndsAllChannels() throws {
        let lent = try LentKeys("stop", "permit 61001 sign web")
        let client = try lent.client(61001)
        #expect(try client.open("web").status == "K")
        #expect(try client.sign(2) == "K")
        let signer = try lent.signer()
        #expect(try lent.daemon.stop() == 0)
        let end = try #require(try lent.ends(1).first)
        #expect(end["reason"] as? String == "broker-stopped" && end["signatures"] as? Int == 2)
        #expect(try client.sign() == "end")
        try waitUntil("the signer ends") {
            !OtherProcess.isRunning(signer.keeper) && !OtherProcess.isRunning(signer.worker)
        }
    }

    @Test func aSignerThatEndsByAFaultIsReplaced() throws {
        let lent = try LentKeys("fault", "permit 61001 sign web")
        let client = try lent.client(61001)
        #expect(try client.open("web").status == "K")
        let signer = try lent.signer()
        kill(signer.worker, SIGKILL)
        let end = try #require(try lent.ends(1).first)
        #expect(end["reason"] as? String == "signer-ended" && end["signatures"] == nil)
        #expect(try client.sign() == "end")
        #expect(try client.open("web").status == "K")
        #expect(try client.sign() == "K")
        // Without its keeper there is none any more, and keys are still handed out.
        let next = try lent.signer()
        kill(next.keeper, SIGKILL)
        kill(next.worker, SIGKILL)
        try lent.wait("signer ended")
        #expect(try lent.ends(2).last?["reason"] as? String == "signer-ended")
        let refused = try client.open("web")
        #expect(refused.status == "U" && refused.packet.hasSuffix(" signer-unavailable"))
        let record = try lent.daemon.record(refused.decision)
        #expect((record["detail"] as? String)?.contains("type: systemctl restart keybrokerd") == true)
        #expect(lent.daemon.program.text(.error).contains("the process that signs has ended"))
    }

    /// Who leaves while the signer does not answer has been granted nothing; who stays is told to come again.
    @Test func aSignerThatHangs() throws {
        let lent = try LentKeys("hang", "permit 61001 sign web\npermit 61002 sign web\npermit 61002 key web")
        let worker = try lent.signer().worker
        try OtherProcess.stop(worker)
        let (gone, patient) = (try lent.client(61001), try lent.client(61002))
        _ = try gone.peer.step("send web")
        _ = try patient.peer.step("send web")
        try waitUntil("both wait") { try lent.status().contains("connections 3\n") }
        gone.peer.program.signal(SIGKILL)
        // Others are served meanwhile.
        #expect(try PeerProcess(lent.daemon.socket, uid: 61002).ask("1Gweb").status == "K")
        let busy = try patient.reply()
        #expect(busy.status == "B")
        #expect(try lent.daemon.record(busy.decision)["reason"] as? String == "signer-unavailable")
        kill(worker, SIGCONT)
        #expect(try patient.open("web").status == "K")
        #expect(try patient.sign() == "K")
        let grants = try lent.daemon.records().filter {
            $0["verb"] as? String == "sign" && $0["decision"] as? String == "granted"
        }
        #expect(grants.count == 1)
    }

    @Test func nobodyHasAllChannels() throws {
        let lent = try LentKeys(
            "limit",
            "permit 61001 sign web\npermit 61002 sign web\nlimit 61001 requests 1000\nlimit 61002 channels 1\n")
        let client = try lent.client(61001)
        for _ in 0..<64 { #expect(try client.open("web").status == "K") }
        let refused = try client.open("web")
        #expect(refused.status == "B")
        #expect(try lent.daemon.record(refused.decision)["reason"] as? String == "limit-channels")
        // As many as a line says.
        let other = try lent.client(61002)
        #expect(try other.open("web").status == "K" && other.open("web").status == "B")
        _ = try client.peer.step("close")
        _ = try lent.ends(64)
        #expect(try client.open("web").status == "K")
    }

    /// Administrators see who signs with which content.
    @Test func whoSignsWithAnOldKey() throws {
        let lent = try LentKeys("rotation", "permit 61001 sign web")
        let (old, new) = (try lent.client(61001), try lent.client(61001))
        #expect(try old.open("web").status == "K")
        try lent.folder.shell(
            "openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out keys/new && mv keys/new keys/web"
        )
        try waitUntil("the rotation is seen") { try lent.status("1R").contains("rotation web generation 1 settled") }
        #expect(try new.open("web").status == "K")
        let channels = try lent.status("1Rweb").split(separator: "\n").filter { $0.hasPrefix("channel ") }
        #expect(channels.count == 2)
        #expect(channels.first?.contains(" generation 0 uid 61001 pid \(old.peer.program.pid)") == true)
        #expect(channels.last?.contains(" generation 1 uid 61001 pid \(new.peer.program.pid)") == true)
        #expect(try old.sign() == "K" && new.sign() == "K")
    }
}
