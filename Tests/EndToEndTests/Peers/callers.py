"""Many callers, one after the other, each a process of its own: callers.py SOCKET

Reads lines from standard input, each a JSON array of callers {"uid", "gid", "groups", "requests"}, and prints for each line
an array with an array of replies for each caller. A reply is [the packet, the contents of the files that came with it].
A caller that is told that the broker is busy asks again. It must be started by root.
"""
import array, json, os, socket, sys, time, traceback

path = sys.argv[1]
PATIENCE = 400


def receive(connection):
    data, control, _, _ = connection.recvmsg(65536, 64, socket.MSG_CMSG_CLOEXEC)
    contents = []
    for _, _, content in control:
        for number in array.array("i", content):
            contents.append(os.pread(number, 4096, 0).decode())
            os.close(number)
    return data.decode("latin-1"), contents


def one(connection, request):
    """The reply. That to a list is all its packets up to the one without names."""
    connection.send(request.encode())
    packet, contents = receive(connection)
    last = packet
    while last[:2] == "1L" and len(last) > 2:
        last, _ = receive(connection)
        packet += "\n" + last[2:] if last[2:] else ""
    return packet, contents


def ask(requests):
    replies, connection = [], None
    for request in requests:
        for _ in range(PATIENCE):
            try:
                if connection is None:
                    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                    connection.settimeout(20)
                    connection.connect(path)
                reply = one(connection, request)
            except (BrokenPipeError, ConnectionResetError):
                reply = ("1B0", [])
            if reply[0] and reply[0][1:2] != "B":
                break
            connection.close()
            connection = None
            time.sleep(0.005)
        replies.append(reply)
    return replies


def as_caller(caller):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups(caller["groups"])
            os.setresgid(*[caller["gid"]] * 3)
            os.setresuid(*[caller["uid"]] * 3)
            with open(writing, "w") as out:
                json.dump(ask(caller["requests"]), out)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else []


for line in sys.stdin:
    print(json.dumps([as_caller(caller) for caller in json.loads(line)]), flush=True)
