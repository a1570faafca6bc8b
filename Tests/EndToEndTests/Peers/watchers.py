"""Watches keys on many connections each until its input ends: watchers.py SOCKET UID NAME[,NAME...] NUMBER

It reads the first key on each of them, and nothing that comes later. Prints a line when all of them watch.
"""
import array, os, socket, sys

path, uid, names, number = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(","), int(sys.argv[4])
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)


def receive(connection):
    data, control, _, _ = connection.recvmsg(4096, 64)
    for _, _, content in control:
        for descriptor in array.array("i", content[: len(content) // 4 * 4]):
            os.close(descriptor)
    return data


connections = []
for name in names * number:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(20)
    connection.connect(path)
    connection.send(b"1W" + name.encode())
    data = receive(connection)
    assert data[:2] == b"1K", data
    connections.append(connection)
print("watching", flush=True)
sys.stdin.read()
