"""notify.py KEY CERTIFICATE: a service of Type=notify that says in its status how often it has read its key."""

import os
import signal
import socket
import sys


def tell(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
        manager.send(text.encode())


readings = 0


def read(*_):
    global readings
    readings += 1
    with open(sys.argv[1], encoding="ascii") as key, open(sys.argv[2], encoding="ascii") as certificate:
        tell(f"READY=1\nSTATUS=reading {readings}: {key.read().strip()} {certificate.read().strip()}")


signal.signal(signal.SIGHUP, read)
read()
while True:
    signal.pause()
