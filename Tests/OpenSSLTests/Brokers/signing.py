#!/usr/bin/env python3
"""A broker that knows verb C alone, with a real keybroker-signer.

signing.py SIGNER SOCKET NAME=FILE[:USES[:CERTIFICATE]]...   USES as in the packets to the signer: 1 tls-server,
2 tls-client, 4 anything

Commands on standard input, each answered by one line: `asked` how many channels were asked for; `deny NAME`, `permit NAME`;
`end` ends all channels; `idle` waits until none is open; `restart` ends the signer and starts another; `use NAME FILE`;
`counts` what was signed and refused on channels that have ended; `busy MILLISECONDS` from then on answers so, before it is
asked; `hang` stops the signer, and starts another for later channels.
"""
import atexit
import os
import select
import signal
import socket
import subprocess
import sys

signer_program, path, *arguments = sys.argv[1:]
keys = {}
for argument in arguments:
    name, file = argument.split("=", 1)
    words = file.split(":")
    file, uses, certificate = words + ["4", ""][len(words) - 1:]
    keys[name] = (file, int(uses), certificate)
denied = set()
asked = number = signed = refused = 0
busy = None
hanging = []
channels = set()


class Signer:
    def __init__(self):
        self.control, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        account = ["61950", "61950"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(
            [signer_program, *account], env={}, stdin=subprocess.DEVNULL, pass_fds=[3],
            preexec_fn=lambda: os.dup2(end.fileno(), 3))
        end.close()
        self.generation = int(self.control.recv(1024).split()[1])

    def end(self):
        self.control.close()
        self.process.wait()


def report(text):
    global signed, refused
    words = text.split()
    if words[0] == b"ended":
        channels.discard(int(words[1]))
        signed, refused = signed + int(words[2]), refused + int(words[3])


def serve(connection):
    global asked, number
    if busy is not None:
        # As keybrokerd does: what was sent is read, so that the reply is not lost with the connection.
        asked += 1
        connection.send(b"1B%d %d" % (asked, busy))
        connection.shutdown(socket.SHUT_RD)
        while connection.recv(4096):
            pass
        return
    packet = connection.recv(4096)
    name = packet[2:].decode()
    asked += packet[:2] == b"1C"
    if packet[:2] != b"1C" or name not in keys or name in denied:
        connection.send(b"1D%d not permitted" % asked)
        return
    file, uses, certificate = keys[name]
    number += 1
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    key = os.open(file, os.O_RDONLY)
    socket.send_fds(signer.control, [b"open %d %d 1 0 %d" % (signer.generation, number, uses)], [key, theirs.fileno()])
    os.close(key)
    theirs.close()
    while True:
        answer = signer.control.recv(1024)
        if answer.split()[1] == b"%d" % number and not answer.startswith(b"ended"):
            break
        report(answer)
    if answer.startswith(b"opened"):
        channels.add(number)
        opened = [os.open(certificate, os.O_RDONLY)] if certificate else []
        socket.send_fds(connection, [b"1K%d" % asked], [ours.fileno()] + opened)
        for descriptor in opened:
            os.close(descriptor)
    else:
        connection.send(b"1U%d file-unusable" % asked)
    ours.close()


signer = Signer()
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(path)
os.chmod(path, 0o666)
listener.listen(512)
print("ready", flush=True)
while True:
    for ready in select.select([listener, sys.stdin, signer.control], [], [])[0]:
        if ready is listener:
            connection, _ = listener.accept()
            with connection:
                try:
                    serve(connection)
                except (BrokenPipeError, ConnectionResetError):
                    pass
            continue
        if ready is signer.control:
            # What was ready may have been taken by `serve` in this round.
            try:
                report(signer.control.recv(1024, socket.MSG_DONTWAIT))
            except BlockingIOError:
                pass
            continue
        words = sys.stdin.readline().split()
        if not words:
            sys.exit()
        if words[0] == "asked":
            print(asked, flush=True)
            continue
        if words[0] == "counts":
            print(signed, refused, len(channels), flush=True)
            continue
        if words[0] == "deny":
            denied.add(words[1])
        elif words[0] == "permit":
            denied.discard(words[1])
        elif words[0] == "busy":
            busy = int(words[1])
        elif words[0] == "hang":
            with open(f"/proc/{signer.process.pid}/task/{signer.process.pid}/children") as children:
                worker = int(children.read().split()[0])
            os.kill(worker, signal.SIGSTOP)
            atexit.register(os.kill, worker, signal.SIGCONT)
            # Its end of the control socket stays open.
            hanging.append(signer)
            channels.clear()
            signer = Signer()
        elif words[0] == "use":
            keys[words[1]] = (words[2], *keys[words[1]][1:])
        elif words[0] == "end":
            for channel in list(channels):
                signer.control.send(b"end %d %d" % (signer.generation, channel))
            while channels:
                report(signer.control.recv(1024))
        elif words[0] == "idle":
            while channels:
                report(signer.control.recv(1024))
        elif words[0] == "restart":
            signer.end()
            channels.clear()
            signer = Signer()
        print("done", flush=True)
