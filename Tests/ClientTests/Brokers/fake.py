"""A broker that answers what it is told to: fake.py SOCKET UID REPLY DESCRIPTORS [SECONDS]

REPLY is sent to each request, with so many descriptors of this file, or of the file that KEYBROKER_FAKE_FILE names;
`close` sends nothing, `silent` never answers. Of several replies, `||` between them, all are sent to each request, SECONDS
apart; `...` at the end repeats the last one for ever. `@` in a reply is a number that grows. A SIGHUP is told on a line.
"""
import array, os, signal, socket, sys, threading, time

path, uid, text, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
seconds = float(sys.argv[5]) if len(sys.argv) > 5 else 0
file = os.environ.get("KEYBROKER_FAKE_FILE", sys.argv[0])
repeats = text.endswith("...")
replies = text.removesuffix("...").split("||")
counter = 0
if os.geteuid() == 0:
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
# Blocked in the threads that tests run on.
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
signal.signal(signal.SIGHUP, lambda *_: print("hangup", flush=True))
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(path)
os.chmod(path, 0o666)
listener.listen(16)
print("listens", flush=True)


def send(connection, reply):
    global counter
    parts = reply.split("@")
    for index in range(len(parts) - 1):
        counter += 1
        parts[index] += f"{counter:09}"
    reply = "".join(parts)
    numbers = [os.open(file, os.O_RDONLY) for _ in range(count)]
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", numbers))] if numbers else []
    try:
        connection.sendmsg([reply.encode("latin-1")], rights)
    finally:
        for number in numbers:
            os.close(number)


def serve(connection):
    try:
        while connection.recv(4096):
            if text == "close":
                break
            if text == "silent":
                continue
            for reply in replies:
                send(connection, reply)
                time.sleep(seconds)
            while repeats:
                send(connection, replies[-1])
                time.sleep(seconds)
    except OSError:
        pass
    connection.close()


while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
