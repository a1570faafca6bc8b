"""Somebody who keeps the socket of a service manager full: flood.py NOTIFY UID

Six processes write to it all the time: five wait for room, as the kernel queues them, and one tries again at once. Prints
`full` when there was no room for the first time. Ends when its standard input does.
"""
import os, signal, socket, sys

children = []
for index in range(6):
    child = os.fork()
    if child:
        children.append(child)
        continue
    os.setgroups([])
    os.setresgid(int(sys.argv[2]), int(sys.argv[2]), int(sys.argv[2]))
    os.setresuid(int(sys.argv[2]), int(sys.argv[2]), int(sys.argv[2]))
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    flags = socket.MSG_DONTWAIT if index == 0 else 0
    said = False
    while True:
        try:
            sender.sendto(b"X_FLOOD=1", flags, sys.argv[1])
        except BlockingIOError:
            if not said:
                print("full", flush=True)
            said = True
        except OSError:
            os._exit(0)
sys.stdin.read()
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
