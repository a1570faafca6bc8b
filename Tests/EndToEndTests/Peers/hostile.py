"""hostile.py SOCKET UID[,GROUPS] MODE [ARGUMENT]...: what a hostile account may do to the broker.

Becomes the account, does what the mode says, prints "ready", and keeps what it holds until it is killed or its
standard input ends. GROUPS is a number: so many supplementary groups, 1 and up. Its children die with it.
"""
import array, ctypes, os, random, signal, socket, struct, sys, time

path, account, mode, arguments = sys.argv[1], sys.argv[2].split(","), sys.argv[3], sys.argv[4:]
libc = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def become(uid, groups=0):
    os.setgroups(range(1, groups + 1))
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    # After the change, which clears it.
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def connect():
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # With a timeout of Python's it would not wait for room in the queue.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 5, 0))
    connection.connect(path)
    connection.settimeout(5)
    return connection


def attempt(function, *parameters):
    try:
        return function(*parameters)
    except OSError:
        return None


def receive(connection):
    data, control, _, _ = connection.recvmsg(4096, 64)
    for _, _, content in control:
        for number in array.array("i", content[: len(content) // 4 * 4]):
            os.close(number)
    return data


def ready():
    print("ready", flush=True)
    sys.stdin.read()


def hoard(key, order, count):
    """Leaves replies unread and ends the connections so that the broker might forget them."""
    kept = []
    for _ in range(count):
        connection = attempt(connect)
        if connection is None or attempt(connection.send, b"1G" + key.encode()) is None:
            continue
        kept.append(connection)
        # The reply is there when it can be seen without being taken.
        attempt(connection.recv, 1, socket.MSG_PEEK)
        if order == "both":
            attempt(connection.shutdown, socket.SHUT_RDWR)
        elif order == "read-and-ask":
            attempt(connection.shutdown, socket.SHUT_RD)
            attempt(connection.send, b"1G" + key.encode())
        elif order == "write-then-read":
            attempt(connection.shutdown, socket.SHUT_WR)
            attempt(connection.shutdown, socket.SHUT_RD)
        elif order == "ask-twice":
            attempt(connection.send, b"1G" + key.encode())
        elif order == "flood-and-shut":
            for _ in range(20):
                attempt(connection.send, b"1V")
            attempt(connection.shutdown, socket.SHUT_RDWR)
    ready()


def wander(key, seed, count):
    """Does anything that a client can do, in any order."""
    choose = random.Random(int(seed))
    kept, pairs, children = [], [], []
    for _ in range(count):
        act = choose.choice("open open open ask ask ask read both rd wr close dup fork hide version kill empty".split())
        connection = choose.choice(kept) if kept else None
        if act == "open" or connection is None:
            new = attempt(connect)
            if new:
                new.setblocking(False)
                kept.append(new)
        elif act == "ask":
            attempt(connection.send, b"1G" + key.encode())
        elif act == "read":
            attempt(receive, connection)
        elif act in ("both", "rd", "wr"):
            how = {"both": socket.SHUT_RDWR, "rd": socket.SHUT_RD, "wr": socket.SHUT_WR}[act]
            attempt(connection.shutdown, how)
        elif act == "close":
            kept.remove(connection)
            connection.close()
        elif act == "dup":
            kept.append(connection.dup())
        elif act == "fork" and len(children) < 10:
            child = os.fork()
            if child == 0:
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                signal.pause()
            children.append(child)
        elif act == "kill" and children:
            child = children.pop()
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        elif act == "hide":
            # In flight itself, and closed here: only a receiver could close it.
            pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            rights = array.array("i", [connection.fileno()])
            attempt(pair[0].sendmsg, [b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            pairs.append(pair)
            kept.remove(connection)
            connection.close()
        elif act == "version":
            attempt(connection.send, b"1V")
        elif act == "empty":
            attempt(connection.send, b"")
    ready()


def flood(request, seconds):
    """Asks as fast as it can on one connection, or on new ones where that is ended. Prints how often."""
    count, connection = 0, attempt(connect)
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        sent = connection and attempt(connection.send, request.encode())
        data = connection and attempt(receive, connection)
        count += 1
        if not sent or not data:
            if connection:
                connection.close()
            connection = attempt(connect)
    print(count, flush=True)


def late(key, count):
    """Asks at the very moment at which each connection has been idle for too long. Reads, and tells what came."""
    made, letters = [], ""
    for _ in range(int(count)):
        connection = connect()
        made.append((connection, time.monotonic()))
        time.sleep(0.01)
    print("ready", flush=True)
    for number, (connection, when) in enumerate(made):
        # Around the deadline, most of them just after it.
        due = when + 30 + (number % 20 - 5) * 0.0001
        while time.monotonic() < due:
            time.sleep(max(0, due - time.monotonic() - 0.002) if due - time.monotonic() > 0.003 else 0)
        data = attempt(connection.send, b"1G" + key.encode()) and attempt(receive, connection)
        letters += chr(data[1]) if data else "-"
        connection.close()
    print(letters, flush=True)


def hasty(key, count):
    """Asks, and has gone before the answer."""
    for _ in range(int(count)):
        connection = connect()
        connection.send(b"1G" + key.encode())
        connection.close()


def loop(seconds):
    """Connects and closes as fast as it can. It is ready when it has done that 500 times."""
    end = time.monotonic() + float(seconds)
    count = 0
    while time.monotonic() < end:
        connection = attempt(connect)
        if connection:
            connection.close()
        count += 1
        if count == 500:
            print("ready", flush=True)
    print("done", flush=True)


def users(first, count, each):
    """So many users at once, of whom each holds as many connections as it gets, and says something on them."""
    ends = []
    for uid in range(int(first), int(first) + int(count)):
        end, theirs = os.pipe()
        if os.fork() == 0:
            become(uid)
            kept = []
            for _ in range(int(each)):
                connection = attempt(connect)
                if connection:
                    attempt(connection.send, b"1V")
                    kept.append(connection)
            os.write(theirs, b"x")
            signal.pause()
        os.close(theirs)
        ends.append(end)
    for end in ends:
        os.read(end, 1)
    ready()


if mode != "users":
    become(int(account[0]), int(account[1]) if len(account) > 1 else 0)
if mode == "hoard":
    hoard(arguments[0], arguments[1], int(arguments[2]))
elif mode == "wander":
    wander(arguments[0], arguments[1], int(arguments[2]))
elif mode == "flood":
    flood(*arguments)
elif mode == "late":
    late(*arguments)
elif mode == "hasty":
    hasty(*arguments)
elif mode == "loop":
    loop(*arguments)
elif mode == "users":
    users(*arguments)
