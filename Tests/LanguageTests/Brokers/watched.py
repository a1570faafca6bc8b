"""A broker for watches that answers what it is told to: watched.py SOCKET

Each line of standard input is `PACKET|FILE|FILE…`: PACKET goes to the newest connection, with a descriptor of each
file. `close` closes that connection. Each connection and each request is told on a line.
"""
import array, os, socket, sys, threading

path = sys.argv[1]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(path)
os.chmod(path, 0o666)
listener.listen(16)
print("listens", flush=True)
connections = []


def accept():
    while True:
        connection, _ = listener.accept()
        request = connection.recv(4096)
        connections.append(connection)
        print(request.decode("latin-1"), flush=True)


threading.Thread(target=accept, daemon=True).start()
for line in sys.stdin:
    packet, *files = line.rstrip("\n").split("|")
    connection = connections[-1]
    if packet == "close":
        connection.close()
        continue
    numbers = [os.open(file, os.O_RDONLY) for file in files]
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", numbers))] if numbers else []
    connection.sendmsg([packet.encode("latin-1")], rights)
    for number in numbers:
        os.close(number)
