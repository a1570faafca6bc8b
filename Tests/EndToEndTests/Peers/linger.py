"""linger.py SOCKET UID COUNT [stream|packet]: connects so often, and leaves sockets there that take half a minute to close, in
each way; or, to a socket for credentials, in the only one; or sockets that take some milliseconds each, whatever interrupts it.

Prints a line when all is sent. The broker must not read meanwhile: whoever has the last one closes it. Ends then, but for what
keeps the sockets lingering.
"""
import os, socket, sys

sys.dont_write_bytecode = True
from lingering import lingering

path, uid, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
is_stream, is_packet = sys.argv[4:] == ["stream"], sys.argv[4:] == ["packet"]
# As whoever has a user namespace can make them.
packets = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) for _ in range(100 * count * is_packet)]
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
kept = []
for index in range(count):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if is_stream else socket.SOCK_SEQPACKET)
    connection.connect(path)
    if is_packet:
        socket.send_fds(connection, [b"1Gk"], [each.fileno() for each in packets[100 * index : 100 * index + 100]])
        connection.close()
        continue
    sender, receiver = lingering()
    way = 2 if is_stream else index % 5
    if is_stream:
        socket.send_fds(connection, [b"what"], [sender.fileno()])
    elif way == 0:
        # With the request.
        socket.send_fds(connection, [b"1Gk"], [sender.fileno()])
    elif way == 1:
        # Behind the request, and behind empty packets.
        connection.send(b"1Gk")
        connection.send(b"")
        connection.send(b"")
        socket.send_fds(connection, [b""], [sender.fileno()])
    elif way == 2:
        # In an empty packet, from somebody who has gone.
        connection.send(b"")
        socket.send_fds(connection, [b""], [sender.fileno()] * 253)
    elif way == 3:
        # In the queue of a socket that is sent.
        one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        socket.send_fds(one, [b"what"], [sender.fileno()])
        socket.send_fds(connection, [b"1Gk"], [two.fileno()])
        one.close()
        two.close()
    else:
        # Behind what is no request.
        connection.send(b"what")
        socket.send_fds(connection, [b"1Gk"], [sender.fileno()])
    sender.close()
    kept.append(receiver)
    if way == 2:
        connection.close()
    else:
        kept.append(connection)
for each in packets:
    each.close()
print("sent", flush=True)
sys.stdin.read()
