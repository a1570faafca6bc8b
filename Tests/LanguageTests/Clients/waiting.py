"""The Python client where its program disturbs it: waiting.py MODE SOCKET

full: no client, but a listener whose queue is full. limit: the program has set a time limit for all its sockets. signals: it
gets a signal every tenth of a second. fstat: that call fails. Each prints `as it should be`.
"""
import os
import signal
import socket
import sys
import threading
import time

import keybroker
import keybroker._wire

mode, path = sys.argv[1:]
kept = []


def full_listener():
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen(0)
    try:
        while True:
            client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            client.setblocking(False)
            client.connect(path)
            kept.append(client)
    except BlockingIOError:
        client.close()
    return listener


def answer(listener):
    time.sleep(0.3)
    while True:
        connection, _ = listener.accept()
        if connection.recv(4096):
            connection.send(b"1D5 not permitted")
        connection.close()


def expect(kind, body):
    try:
        body()
    except kind:
        print("as it should be", flush=True)


if mode == "full":
    listener = full_listener()
    print("full", flush=True)
    sys.stdin.read()
elif mode == "limit":
    listener = full_listener()
    for client in kept:
        client.close()
    socket.setdefaulttimeout(5)
    listener.setblocking(True)
    threading.Thread(target=answer, args=(listener,), daemon=True).start()
    expect(keybroker.DeniedError, lambda: keybroker.KeyBroker(path).get("k"))
elif mode == "signals":
    listener = full_listener()
    keybroker._wire.REPLY = 1.0
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    expect(keybroker.NoAnswerError, lambda: keybroker.KeyBroker(path).get("k"))
elif mode == "fstat":
    descriptor = os.open("/dev/null", os.O_RDONLY)

    def fails(_):
        raise OSError(5, "Input/output error")

    real, os.fstat = os.fstat, fails
    try:
        keybroker._wire.Reply(b"1K5", [descriptor])
    except keybroker.ProtocolError as error:
        assert "is not a regular file" in str(error), error
    key = keybroker.Key("k", 5, descriptor, None)
    expect(keybroker.SystemCallError, lambda: keybroker._identity(key))
