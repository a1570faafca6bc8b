"""The Python client, led by arguments: get NAME WAIT, list WAIT, watch NAME WAIT TIMES, loop NAME TIMES, tls NAME CA.

It prints what client.c prints, and ends with the status that the error has. KEYBROKER_SOCKET names the socket.
"""
import asyncio, gc, os, ssl, sys

import keybroker


def show(key):
    with key.read_key() as content:
        print(f"{key.name} {int(key.decision != 0)} {key.generation}: {bytes(content).decode()}")
    certificate = key.read_certificate()
    print("no certificate" if certificate is None else certificate.decode(), flush=True)


def get(name, wait):
    with keybroker.KeyBroker().get(name, int(wait) / 1000) as key:
        show(key)


def list_(wait):
    for name in keybroker.KeyBroker().list(int(wait) / 1000):
        print(name)


def watch(name, wait, times):
    left = int(times)
    for key in keybroker.KeyBroker().watch(name, int(wait) / 1000):
        with key:
            show(key)
        left -= 1
        if left == 0:
            return


def loop(name, times):
    """A watch in an event loop, without a thread."""

    async def follow():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        seen = []

        def renew():
            key = watch.next(timeout=0)
            if key is not None:
                with key:
                    show(key)
                seen.append(key)
            if len(seen) == int(times):
                loop.remove_reader(watch)
                done.set_result(None)

        with keybroker.KeyBroker().open_watch(name, wait=10) as watch:
            loop.add_reader(watch, renew)
            renew()
            await done

    asyncio.run(follow())


def tls(name):
    """A handshake in memory with the key of the broker; prints the certificate's subject as the client sees it."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with keybroker.KeyBroker().get(name) as key:
        key.load_into(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(sys.argv[3])
    pipes = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(*pipes), server.wrap_bio(*pipes[::-1], server_side=True)]
    for _ in range(3):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
    print(dict(pair[0] for pair in ends[0].getpeercert()["subject"])["commonName"])


def run():
    steps = {"get": get, "list": list_, "watch": watch, "loop": loop, "tls": lambda name, _: tls(name)}
    try:
        steps[sys.argv[1]](*sys.argv[2:])
        return 0
    except keybroker.KeyBrokerError as error:
        print(error)
        return error.exit_status


before = len(os.listdir("/proc/self/fd"))
status = run()
gc.collect()
after = len(os.listdir("/proc/self/fd"))
if after != before:
    print(f"{after - before} descriptors more are open")
sys.exit(status)
