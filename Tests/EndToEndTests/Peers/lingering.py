"""A socket that takes half a minute to close, for the tests that send one: linger.py here and in SignerTests."""
import socket, struct


def lingering():
    """A TCP socket with more to send than its peer takes. Closing it waits for 30 seconds."""
    listener = socket.create_server(("127.0.0.1", 0))
    sender = socket.create_connection(listener.getsockname())
    receiver, _ = listener.accept()
    sender.setblocking(False)
    try:
        while True:
            sender.send(b"x" * 65536)
    except BlockingIOError:
        pass
    sender.setblocking(True)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30))
    return sender, receiver
