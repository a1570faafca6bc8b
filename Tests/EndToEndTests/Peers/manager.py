"""A service manager in small: manager.py SOCKET NOTIFY DAEMON ARG...

Makes the listening socket, hands it over (LISTEN_FDS), prints each notification, obeys `reload` and `stop`.
MORE_SOCKETS names further sockets to hand over, each as NAME=TYPE:PATH, before the first one.
"""
import fcntl, os, signal, socket, sys, threading

listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(sys.argv[1])
listener.listen(16)
passed = [("broker", listener)]
for word in reversed(os.environ.pop("MORE_SOCKETS", "").split()):
    name, rest = word.split("=")
    kind, path = rest.split(":")
    more = socket.socket(socket.AF_UNIX, {"stream": socket.SOCK_STREAM, "seqpacket": socket.SOCK_SEQPACKET}[kind])
    more.bind(path)
    more.listen(16)
    passed.insert(0, (name, more))
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(sys.argv[2])
os.chmod(sys.argv[2], 0o777)

child = os.fork()
if child == 0:
    # Out of the way of the numbers that they get.
    numbers = [fcntl.fcntl(one, fcntl.F_DUPFD, 100) for _, one in passed]
    for place, number in enumerate(numbers):
        os.dup2(number, 3 + place)
        os.set_inheritable(3 + place, True)
        os.close(number)
    names = ":".join(name for name, _ in passed)
    environment = dict(os.environ, LISTEN_FDS=str(len(passed)), LISTEN_FDNAMES=names, LISTEN_PID=str(os.getpid()),
                       NOTIFY_SOCKET=sys.argv[2], WATCHDOG_USEC="200000", WATCHDOG_PID=str(os.getpid()))
    os.execve(sys.argv[3], sys.argv[3:], environment)


def report():
    while True:
        message = notify.recv(4096).decode()
        # Others may write as well (flood.py).
        if not message.startswith("X_"):
            print(repr(message), flush=True)


threading.Thread(target=report, daemon=True).start()
for line in sys.stdin:
    os.kill(child, {"reload": signal.SIGHUP, "stop": signal.SIGTERM}[line.strip()])
    if line.strip() == "stop":
        _, status = os.waitpid(child, 0)
        # What it said last is in the socket by now.
        print("exited", os.waitstatus_to_exitcode(status), flush=True)
