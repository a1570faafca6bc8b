"""A client of signing channels under any identity, led step by step: signs.py SOCKET [UID GID GROUP,GROUP...]

Reads a step a line from standard input and prints its result as one JSON object a line:

    open NAME           asks for a channel on a new connection, and keeps the channel
    send TEXT           the same, but does not wait for the reply: `reply` does
    reply
    sign [NUMBER]       so many handshakes of a TLS server, one after the other, with the first scheme
    other TEXT          has a text signed that is no handshake
    clone               makes another end of the channel, and goes on with that
    idle                waits until the channel ends
    count MILLISECONDS  signs for so long, however often the channel ends, and says when the last signature came
    close               all ends
"""
import array, json, os, socket, struct, sys, time

path = sys.argv[1]
if len(sys.argv) > 2:
    os.setgroups([int(g) for g in sys.argv[4].split(",") if g])
    os.setresgid(*[int(sys.argv[3])] * 3)
    os.setresuid(*[int(sys.argv[2])] * 3)

HANDSHAKE = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + bytes(32)
connection = None
ends = []
schemes = []
sequence = 0


def ask(name):
    global connection
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(20)
    connection.connect(path)
    connection.send(b"1C" + name.encode())


def reply():
    global schemes
    data, control, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(16), socket.MSG_CMSG_CLOEXEC)
    numbers = array.array("i")
    for level, kind, content in control:
        numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
    result = {"packet": data.decode(), "descriptors": len(numbers)}
    if numbers:
        result["blocks"] = os.get_blocking(numbers[0])
        ends.append(greeted(socket.socket(fileno=numbers[0])))
        result["schemes"] = ["%04x" % scheme for scheme in schemes]
    if len(numbers) > 1:
        result["certificate"] = os.pread(numbers[1], 65536, 0).decode()
        os.close(numbers[1])
    connection.close()
    return result


def greeted(end):
    global schemes
    end.settimeout(20)
    hello = end.recv(4096)
    if not hello:
        return end
    assert hello[:2] == b"1H", hello
    count = struct.unpack(">H", hello[2:4])[0]
    schemes = struct.unpack(">%dH" % count, hello[4 : 4 + 2 * count])
    return end


def sign(message):
    """The kind of the reply, or what else came of it."""
    global sequence
    sequence += 1
    try:
        ends[-1].send(b"1S" + struct.pack(">IH", sequence, schemes[0]) + message)
        answer = ends[-1].recv(4096)
    except (BrokenPipeError, ConnectionResetError):
        return "end", ""
    if not answer:
        return "end", ""
    assert struct.unpack(">I", answer[2:6])[0] == sequence
    return answer[1:2].decode(), "" if answer[1:2] in b"KB" else answer[6:].decode()


def step(verb, rest):
    if verb == "open":
        ask(rest)
        return reply()
    if verb == "send":
        ask(rest)
    elif verb == "reply":
        return reply()
    elif verb == "sign":
        kinds = [sign(HANDSHAKE)[0] for _ in range(int(rest or 1))]
        return {"kind": kinds[-1], "signed": kinds.count("K")}
    elif verb == "other":
        kind, text = sign(rest.encode())
        return {"kind": kind, "text": text}
    elif verb == "clone":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        socket.send_fds(ends[-1], [b"1C" + struct.pack(">I", 0)], [theirs.fileno()])
        theirs.close()
        ends.append(greeted(ours))
    elif verb == "idle":
        return {"rest": ends[-1].recv(4096).decode("latin-1")}
    elif verb == "count":
        until, last, signed, opened = time.monotonic() + int(rest) / 1000, 0, 0, len(ends)
        while time.monotonic() < until and sign(HANDSHAKE)[0] == "K":
            signed, last = signed + 1, time.time()
        return {"signed": signed, "last": last}
    elif verb == "close":
        while ends:
            ends.pop().close()
    return {}


for line in sys.stdin:
    verb, _, rest = line.strip().partition(" ")
    try:
        result = step(verb, rest)
    except (OSError, AssertionError, IndexError) as fault:
        result = {"error": "%s: %s" % (type(fault).__name__, fault)}
    print(json.dumps(result), flush=True)
