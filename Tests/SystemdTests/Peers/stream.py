"""stream.py THREADS: asks for the key `web` again and again, a connection each, until SIGTERM.

Prints a line after the first answers ("streams"), and at the end how many were right, the longest wait in
milliseconds, and every error. Speaks the protocol as README gives it, without a second try: whatever a restart of the
broker loses shows.
"""

import os
import signal
import socket
import sys
import threading
import time

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
lock = threading.Lock()
right, longest, errors = 0, 0.0, []


def ask():
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as broker:
        broker.connect("/run/keybroker/broker.sock")
        broker.send(b"1Gweb")
        reply, fds, _, _ = socket.recv_fds(broker, 4096, 2)
        try:
            if reply[:2] != b"1K" or os.pread(fds[0], 100, 0) != b"THE KEY\n":
                raise OSError(f"reply {reply!r}")
        finally:
            for fd in fds:
                os.close(fd)


def work():
    global right, longest
    while not stop.is_set():
        begin = time.monotonic()
        try:
            ask()
            with lock:
                right += 1
        except OSError as error:
            with lock:
                errors.append(repr(error))
        longest = max(longest, time.monotonic() - begin)
        if right == 20:
            print("streams", flush=True)


threads = [threading.Thread(target=work) for _ in range(int(sys.argv[1]))]
for thread in threads:
    thread.start()
stop.wait()
for thread in threads:
    thread.join()
print(f"right {right} longest {longest * 1000:.0f} errors {len(errors)} {errors[:5]}", flush=True)
