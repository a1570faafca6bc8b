// What is asked of the process that opens keys: the packets, and what becomes of answers that come late.

import Glibc
import Kernel
import TestSupport
import Testing
import Wire

@testable import Keys

struct OpenerTests {
    private let start = Instant(sinceBoot: .seconds(1000))
    private let question = OpenerQuestion(lane: 7, form: .held, paths: ["/far/key", "/far/a certificate"])

    private func facts() throws -> FileFacts {
        FileFacts(path: "/far/key", status: try #require(try statusFollowing(#filePath)))
    }

    @Test func packetsAreReadAsTheyWereWritten() throws {
        let file = try facts()
        guard case .open(3, question) = OpenerPacket(OpenerPacket.open(3, question).bytes) else {
            throw Waited(description: "open")
        }
        guard case .opened(4, [file, file]) = OpenerPacket(OpenerPacket.opened(4, [file, file]).bytes) else {
            throw Waited(description: "opened")
        }
        let end = start.after(.microseconds(1_234_567))
        let packet = Array("1K5\n".utf8)
        guard case .send(5, end, packet) = OpenerPacket(OpenerPacket.send(5, until: end, packet: packet).bytes) else {
            throw Waited(description: "send")
        }
        let error = TrustError(.untrusted, "one\ntwo")
        guard case .failed(6, error) = OpenerPacket(OpenerPacket.failed(6, error).bytes) else {
            throw Waited(description: "failed")
        }
        let other = TrustError(.elsewhere(7), "x")
        guard case .failed(7, other) = OpenerPacket(OpenerPacket.failed(7, other).bytes) else {
            throw Waited(description: "failed elsewhere")
        }
        for text in [
            "", "failed 1 elsewhere\nx", "failed 1 elsewhere x\nx", "open", "open 1", "open x 1 held\n/k",
            "open 1 1 other\n/k", "opened 1", "opened 1\n/k\nx", "sent 1",
        ] {
            #expect(OpenerPacket(Array(text.utf8)) == nil, "\(text)")
        }
    }

    /// Two callers must not share a file offset, and nobody is given what was opened long ago.
    @Test func anAnswerIsGivenOnceAndNotForLong() throws {
        var state = OpenerState()
        let opened = OpenerPacket.opened(1, [try facts()]).bytes
        for number: UInt64 in 1...3 { state.asked[number] = (question, start) }
        state.note(opened, OpenFiles(nil, nil), start)
        #expect(state.questions(in: 7) == 2 && state.questions(in: 8) == 0)
        #expect(state.take(question)?.number == 1)
        #expect(state.take(question) == nil)
        // An answer that nobody asked for is none.
        state.note(opened, OpenFiles(nil, nil), start)
        #expect(state.take(question) == nil)
        state.note(OpenerPacket.opened(2, [try facts()]).bytes, OpenFiles(nil, nil), start)
        #expect(state.forget(olderThan: start.after(.milliseconds(999))).isEmpty)
        #expect(state.nextForgetting == start.after(Limits.openedKept))
        #expect(state.forget(olderThan: start.after(Limits.openedKept)) == [2])
        #expect(state.nextForgetting == nil)
        #expect(state.take(question) == nil)
        // What failed is held by nobody.
        state.note(OpenerPacket.failed(3, TrustError(.missing, "x")).bytes, OpenFiles(nil, nil), start)
        #expect(state.forget(olderThan: start.after(Limits.openedKept)).isEmpty)
    }

    /// What could not be received is a shortage, and no answer without files.
    @Test func aDescriptorThatDidNotArriveIsAShortage() throws {
        var state = OpenerState()
        state.asked[1] = (question, start)
        state.note(OpenerPacket.opened(1, [try facts()]).bytes, nil, start)
        let arrived = state.take(question)
        guard case .failure(let error)? = arrived?.files else { throw Waited(description: "a failure") }
        #expect(error.kind == .shortage)
    }

    @Test func aShortageIsNotTheEndOfTheProcess() {
        var state = OpenerState()
        for code in [EAGAIN, ENOBUFS, ENOMEM] { state.note(Failure("sendmsg", code: code)) }
        #expect(!state.hasEnded)
        state.note(Failure("sendmsg", code: EPIPE))
        #expect(state.hasEnded)
    }

    /// The loop waits for a slow file system in vain at most once a second, however it changes.
    @Test func aSlowLaneIsNotWaitedFor() throws {
        var state = OpenerState()
        #expect(state.mayWait(in: 7, start))
        state.asked[1] = (question, start)
        #expect(!state.mayWait(in: 7, start) && state.mayWait(in: 8, start))
        state.noteSlow(7, start)
        state.note(OpenerPacket.opened(1, [try facts()]).bytes, OpenFiles(nil, nil), start.after(.milliseconds(500)))
        #expect(!state.mayWait(in: 7, start.after(.milliseconds(9_999))))
        #expect(state.mayWait(in: 7, start.after(Limits.slowFileSystem)))
        let later = start.after(.milliseconds(600))
        state.asked[2] = (question, later)
        state.note(OpenerPacket.opened(2, [try facts()]).bytes, OpenFiles(nil, nil), later.after(.milliseconds(1)))
        #expect(!state.mayWait(in: 7, start.after(.milliseconds(999))))
        #expect(state.mayWait(in: 7, start.after(Limits.fastAgain)))
    }
}
