"""A service manager in small: manager.py SOCKET NOTIFY DAEMON ARG...

Makes the listening socket, hands it over (LISTEN_FDS), prints each notification, obeys `reload` and `stop`.
"""
import os, signal, socket, sys, threading

listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(sys.argv[1])
listener.listen(16)
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(sys.argv[2])
os.chmod(sys.argv[2], 0o666)

child = os.fork()
if child == 0:
    os.dup2(listener.fileno(), 3)
    os.set_inheritable(3, True)
    environment = dict(os.environ, LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), NOTIFY_SOCKET=sys.argv[2],
                       WATCHDOG_USEC="200000", WATCHDOG_PID=str(os.getpid()))
    os.execve(sys.argv[3], sys.argv[3:], environment)


def report():
    while True:
        print(repr(notify.recv(4096).decode()), flush=True)


threading.Thread(target=report, daemon=True).start()
for line in sys.stdin:
    os.kill(child, {"reload": signal.SIGHUP, "stop": signal.SIGTERM}[line.strip()])
    if line.strip() == "stop":
        _, status = os.waitpid(child, 0)
        # What it said last is in the socket by now.
        print("exited", os.waitstatus_to_exitcode(status), flush=True)
