"""A broker that treats each connection in its own way: turns.py [--full] SOCKET REPLY...

The first connection is sent the first REPLY to each of its requests, and so on; all later ones the last. `1K` comes with a
descriptor of this file. After `close` at the end of a reply the connection ends. Each connection is told on a line. With
`--full`, its queue is full until there is a line on standard input.
"""
import array, os, socket, sys, threading

words = sys.argv[1:]
full = words[0] == "--full"
path, *replies = words[full:]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(path)
os.chmod(path, 0o666)
listener.listen(0 if full else 16)
fillers = []
while full:
    filler = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    filler.setblocking(False)
    try:
        filler.connect(path)
    except BlockingIOError:
        break
    fillers.append(filler)
print("listens", flush=True)
if full:
    sys.stdin.readline()
    for _ in fillers:
        listener.accept()[0].close()


def serve(connection, reply):
    text = reply.removesuffix("close")
    try:
        while connection.recv(4096):
            rights = []
            if text.startswith("1K"):
                file = os.open(sys.argv[0], os.O_RDONLY)
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))]
            connection.sendmsg([text.encode()], rights)
            if rights:
                os.close(file)
            if text != reply:
                break
    except OSError:
        pass
    connection.close()


while True:
    connection, _ = listener.accept()
    reply = replies.pop(0) if len(replies) > 1 else replies[0]
    print("connected", flush=True)
    threading.Thread(target=serve, args=(connection, reply), daemon=True).start()
