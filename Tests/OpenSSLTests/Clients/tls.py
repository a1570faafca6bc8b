#!/usr/bin/env python3
"""TLS 1.3 handshakes with itself, by a key of the broker.

tls.py CERTIFICATE KEY   Commands on standard input; each is answered by one line: how many handshakes succeeded.
    one | threads N M | fork N M | close: closes all descriptors from 3 up, then one | nested: a fork of a fork
    crowd N M: N children hold what they signed with, and then M more do one each; only the latter count
"""
import os
import socket
import ssl
import sys
import threading

server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain(sys.argv[1], sys.argv[2])
client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
client.load_verify_locations(sys.argv[1])
client.check_hostname = False


def handshake():
    """Both sides in memory. The client verifies the signature."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    done = set()
    while len(done) < 2:
        for side in sides:
            if side in done:
                continue
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
    assert sides[1].version() == "TLSv1.3"


def several(count):
    succeeded = 0
    for _ in range(count):
        try:
            handshake()
            succeeded += 1
        except ssl.SSLError as error:
            print(error, file=sys.stderr, flush=True)
    return succeeded


def in_threads(threads, count):
    results = []
    running = [threading.Thread(target=lambda: results.append(several(count))) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(results)


def in_children(children, body):
    ends = []
    for _ in range(children):
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.write(writing, b"%d\n" % body())
            os._exit(0)
        os.close(writing)
        ends.append(reading)
    total = 0
    for end in ends:
        with os.fdopen(end) as file:
            total += int(file.readline() or 0)
        os.wait()
    return total


def in_a_crowd(holders, others):
    """The parent has loaded the key and signs nothing, as a server that forks for each connection."""
    reading, writing = os.pipe()
    ready, said = os.pipe()
    for _ in range(holders):
        if os.fork() == 0:
            os.close(writing)
            os.write(said, b"%d" % several(1))
            os.read(reading, 1)
            os._exit(0)
    succeeded = [int(os.read(ready, 1)) for _ in range(holders)]
    assert sum(succeeded) == holders, succeeded
    count = 0
    for _ in range(others):
        count += in_children(1, lambda: several(1))
    os.close(writing)
    for _ in range(holders):
        os.wait()
    for end in [reading, ready, said]:
        os.close(end)
    return count


print("ready", flush=True)
for line in sys.stdin:
    words = line.split()
    numbers = [int(word) for word in words[1:]]
    if words[0] == "one":
        result = several(1)
    elif words[0] == "threads":
        result = in_threads(*numbers)
    elif words[0] == "fork":
        result = in_children(numbers[0], lambda: several(numbers[1]))
    elif words[0] == "crowd":
        result = in_a_crowd(*numbers)
    elif words[0] == "nested":
        result = in_children(2, lambda: several(2) + in_children(2, lambda: in_threads(2, 5)))
    elif words[0] == "close":
        os.closerange(3, 1000)
        # Their numbers are other files' now.
        others = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
        result = several(1)
        for other in others:
            os.fstat(other)
    print(result, flush=True)
