"""A broker that answers what it is told to: fake.py SOCKET UID REPLY DESCRIPTORS [SECONDS]

REPLY is sent to each request, with so many descriptors; `close` sends nothing, `silent` never answers.
"""
import array, os, socket, sys

path, uid, reply, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
if os.geteuid() == 0:
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(path)
os.chmod(path, 0o666)
listener.listen(16)
print("listens", flush=True)
kept = []
while True:
    connection, _ = listener.accept()
    connection.recv(4096)
    if reply == "silent":
        kept.append(connection)
    elif reply != "close":
        numbers = [os.open(sys.argv[0], os.O_RDONLY) for _ in range(count)]
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", numbers))] if numbers else []
        connection.sendmsg([reply.encode("latin-1")], rights)
        for number in numbers:
            os.close(number)
    connection.close() if reply != "silent" else None
