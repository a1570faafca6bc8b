#!/usr/bin/env python3
"""A client that sends descriptors that take half a minute to close, in the ways that a packet can bring them.

linger.py SIGNER KEY   Ends with 0 if another account's channel is served meanwhile, each time.
"""
import os
import signal
import socket
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../EndToEndTests/Peers"))
from lingering import lingering

program, key = sys.argv[1:]
control, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
account = ["61950", "61950"] if os.geteuid() == 0 else []
process = subprocess.Popen(
    [program, *account], env={}, stdin=subprocess.DEVNULL, pass_fds=[3], preexec_fn=lambda: os.dup2(end.fileno(), 3))
end.close()
control.settimeout(30)
generation = int(control.recv(1024).split()[1])
with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
    worker = int(children.read().split()[0])


def opened(number, account):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with open(key) as file:
        socket.send_fds(control, [b"open %d %d %d 0 4" % (generation, number, account)], [file.fileno(), theirs.fileno()])
    theirs.close()
    while control.recv(1024) != b"opened %d" % number:
        pass
    ours.settimeout(10)
    ours.recv(4096)
    return ours


def stop_worker():
    os.kill(worker, signal.SIGSTOP)
    # One thread takes the signal. The others may still run for a moment.
    while not all("State:\tT" in open(f"/proc/{worker}/task/{thread}/status").read()
                  for thread in os.listdir(f"/proc/{worker}/task")):
        time.sleep(0.001)


other = opened(1, 2)
kept = []
for number, kind in enumerate(["clone", "many", "sign", "queue"], 2):
    client = opened(number, 1)
    sender, receiver = lingering()
    kept.append(receiver)
    # It is closed here while it is on its way, so that the signer has the last one.
    stop_worker()
    if kind == "clone":
        socket.send_fds(client, [b"1C\0\0\0\1"], [sender.fileno()])
    elif kind == "many":
        socket.send_fds(client, [b"1C\0\0\0\1"], [sender.fileno()] * 253)
    elif kind == "sign":
        socket.send_fds(client, [b"1S\0\0\0\1\4\3x"], [sender.fileno()])
    else:
        one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        socket.send_fds(one, [b"what"], [sender.fileno()])
        socket.send_fds(one, [b"what"], [sender.fileno()])
        socket.send_fds(client, [b"1C\0\0\0\1"], [two.fileno()])
        two.close()
        kept.append(one)
    sender.close()
    os.kill(worker, signal.SIGCONT)
    for sequence in range(3):
        request = struct.pack(">ccIH", b"1", b"S", sequence, 0x0403) + b"message"
        other.send(request)
        try:
            reply = other.recv(4096)
        except TimeoutError:
            sys.exit(f"{kind}: another account waits")
        assert reply[:2] == b"1K", reply
    client.close()

# However fast one account sends descriptors, they are closed as fast, or its channel ends: no other lacks descriptors for it.
flooder = opened(8, 1)
null = os.open("/dev/null", os.O_RDONLY)
for _ in range(100):
    try:
        socket.send_fds(flooder, [b"1C\0\0\0\1"], [null] * 253)
        flooder.recv(4096)
    except OSError:
        break
    count = len(os.listdir(f"/proc/{worker}/fd"))
    assert count < 4000, f"the signer has {count} descriptors"
opened(9, 2)
