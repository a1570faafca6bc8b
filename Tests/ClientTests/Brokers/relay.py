"""A broker of two processes: relay.py SOCKET PAGE

The first answers the first two connections, each request on them with PAGE, and a child of its own all others. Whoever
of them gets a SIGHUP says so on a line.
"""
import os, signal, socket, sys

# Blocked in the threads that tests run on.
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
signal.signal(signal.SIGHUP, lambda *_: print("hangup", flush=True))
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(sys.argv[1])
listener.listen(16)
print("listens", flush=True)


def serve(connection):
    try:
        while connection.recv(4096):
            connection.send(sys.argv[2].encode())
    except OSError:
        pass
    connection.close()


served = 0
while True:
    connection, _ = listener.accept()
    served += 1
    if served > 2 and os.fork() == 0:
        serve(connection)
        os._exit(0)
    if served <= 2:
        serve(connection)
    connection.close()
