"""A client under any identity, led step by step: peer.py SOCKET [UID GID GROUP,GROUP...]

Reads a step a line from standard input and prints its result as one JSON object a line. It is a tool of
the tests and keeps to no protocol: it can do wrong whatever a client can do wrong.
"""
import array, fcntl, json, os, socket, sys

path = sys.argv[1]
if len(sys.argv) > 2:
    os.setgroups([int(g) for g in sys.argv[4].split(",") if g])
    os.setresgid(*[int(sys.argv[3])] * 3)
    os.setresuid(*[int(sys.argv[2])] * 3)

client = None
others = []


def connect():
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(20)
    connection.connect(path)
    return connection


def receive(connection):
    room = socket.CMSG_SPACE(8 * array.array("i").itemsize)
    data, control, flags, _ = connection.recvmsg(65536, room, socket.MSG_CMSG_CLOEXEC)
    numbers = array.array("i")
    for level, kind, content in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
    files = []
    for number in numbers:
        files.append(
            {
                "content": os.pread(number, 65536, 0).decode("latin-1"),
                "offset": os.lseek(number, 0, os.SEEK_CUR),
                "access": fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE,
                "cloexec": bool(fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC),
                "reopened": reopened(number),
            }
        )
        os.lseek(number, 3, os.SEEK_SET)  # a copy that shared the offset would show it next time
        os.close(number)
    return {
        "packet": data.decode("latin-1"),
        "files": files,
        "cut": bool(flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)),
    }


def reopened(number):
    try:
        os.close(os.open("/proc/self/fd/%d" % number, os.O_RDONLY))
        return True
    except OSError:
        return False


def step(verb, rest):
    global client
    if client is None and verb != "flood":
        client = connect()
    if verb == "send":
        client.send(rest.encode("latin-1").decode("unicode_escape").encode("latin-1"))
    elif verb == "size":
        client.send(b"1G" + b"a" * (int(rest) - 2))
    elif verb == "empty":
        client.send(b"")
    elif verb == "descriptors":
        rights = array.array("i", [0, 1, 2])
        client.sendmsg([rest.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    elif verb == "receive":
        return receive(client)
    elif verb == "half-close":
        client.shutdown(socket.SHUT_WR)
    elif verb == "close":
        client.close()
        client = None
    elif verb == "connect":  # as many more, kept open; how many got in
        for _ in range(int(rest)):
            others.append(connect())
    elif verb == "busy":  # what the connection made last is told unasked
        return receive(others[-1])
    elif verb == "flood":  # get the key again and again, noting each number that came with a descriptor
        name, note = rest.split()
        flood(name, note)
    return {}


def flood(name, note):
    with open(note, "a", buffering=1) as notes:
        while True:
            try:
                connection = connect()
                while True:
                    connection.send(b"1G" + name.encode())
                    data, control, _, _ = connection.recvmsg(4096, 64)
                    if not data:
                        break
                    for _, _, content in control:
                        for number in array.array("i", content):
                            os.close(number)
                    if data[1:2] == b"K":
                        notes.write("%s %d\n" % (data[2:].decode(), len(control)))
            except OSError:
                if not os.path.exists(note + ".go"):
                    return


for line in sys.stdin:
    verb, _, rest = line.rstrip("\n").partition(" ")
    try:
        result = step(verb, rest)
    except OSError as error:
        result = {"error": type(error).__name__ + ": " + str(error)}
    print(json.dumps(result), flush=True)
