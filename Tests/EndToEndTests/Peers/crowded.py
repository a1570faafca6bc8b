"""crowded.py SOCKET PID UID VICTIM: the part of the one user's requests that still waits when the other one, who is new, is
served: "V 0.97", after the letter of the reply.

The user has a hundred connections, each with as many requests as the broker's socket takes. PID is the broker, which stands
still until all is sent. Needs root.
"""
import fcntl, os, signal, socket, struct, sys, termios

path, broker, user, victim = sys.argv[1], *map(int, sys.argv[2:5])


def connect(uid):
    os.setresuid(uid, uid, 0)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(path)
    os.setresuid(0, 0, 0)
    return connection


def waiting():
    """How much the broker has not read, in bytes of memory."""
    return sum(struct.unpack("i", fcntl.ioctl(each, termios.TIOCOUTQ, b"\0" * 4))[0] for each in many)


many = [connect(user) for _ in range(100)]
for connection in many:
    connection.send(b"1V")
    connection.recv(100)
os.kill(broker, signal.SIGSTOP)
for connection in many:
    connection.setblocking(False)
    try:
        while True:
            connection.send(b"1V")
    except BlockingIOError:
        pass
all_of_it = waiting()
one = connect(victim)
one.settimeout(30)
one.send(b"1V")
os.kill(broker, signal.SIGCONT)
reply = one.recv(100)
os.kill(broker, signal.SIGSTOP)
left = waiting()
os.kill(broker, signal.SIGCONT)
print(reply[1:2].decode(), left / all_of_it)
