"""A broker for watches that answers what it is told to: watched.py SOCKET

Each line of standard input is `PACKET|FILE|FILE…`: PACKET goes to the newest connection, with a descriptor of each
file. `close` closes that connection. `drop|PACKET|FILE…` has each later connection answered so and closed at once. Each request
is told on a line. `tell COUNT` prints `told` and the seconds from the first to that request since it was told last.
"""
import array, os, socket, sys, threading, time

path = sys.argv[1]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(path)
os.chmod(path, 0o666)
listener.listen(16)
print("listens", flush=True)
connections = []
dropped = None
times = []


def send(connection, packet, files):
    numbers = [os.open(file, os.O_RDONLY) for file in files]
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", numbers))] if numbers else []
    connection.sendmsg([packet.encode("latin-1")], rights)
    for number in numbers:
        os.close(number)


def accept():
    while True:
        connection, _ = listener.accept()
        request = connection.recv(4096)
        connections.append(connection)
        times.append(time.monotonic())
        print(request.decode("latin-1"), flush=True)
        if dropped:
            send(connection, *dropped)
            connections.pop().close()


threading.Thread(target=accept, daemon=True).start()
for line in sys.stdin:
    packet, *files = line.rstrip("\n").split("|")
    if packet == "drop":
        dropped = (files[0], files[1:])
    elif packet.startswith("tell "):
        print("told", times[int(packet[5:]) - 1] - times[0], flush=True)
        times.clear()
    elif packet == "close":
        connections[-1].close()
    else:
        send(connections[-1], packet, files)
