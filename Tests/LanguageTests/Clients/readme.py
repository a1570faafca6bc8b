"""The asyncio example of the Python client's README, with a context that prints the key."""
import asyncio
import os
import socket

import keybroker
from keybroker import KeyBroker

# EXAMPLE


def show(key, context):
    print(os.pread(key.key, 4096, 0).decode(), flush=True)


async def main():
    loop = asyncio.get_running_loop()
    try:
        await follow(None)
    except keybroker.KeyBrokerError as error:
        print(type(error).__name__, flush=True)
    # One of these has the number that the watch had.
    pairs = [socket.socketpair() for _ in range(4)]
    readable = [loop.create_future() for _ in pairs]
    for (one, other), future in zip(pairs, readable):
        loop.add_reader(one, lambda future=future: future.done() or future.set_result(None))
        other.send(b"x")
    await asyncio.wait_for(asyncio.gather(*readable), 10)
    print("the next connection is readable", flush=True)
    for one, other in pairs:
        loop.remove_reader(one)
        one.close()
        other.close()


keybroker.Key.load_into = show
asyncio.run(main())
