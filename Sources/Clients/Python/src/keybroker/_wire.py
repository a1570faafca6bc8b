"""One connection to the broker: a request and its replies, as keybroker-protocol(7) has them.

Must never trust a socket only because of its path. Must never accept a reply that comes with more or fewer descriptors
than it announces. Must never lose a descriptor: each one is handed on or closed.
"""

from __future__ import annotations

import array
import errno
import os
import re
import select
import socket
import stat
import struct
import time
from typing import List, Optional

from ._errors import (
    BusyError,
    DeniedError,
    InvalidNameError,
    KeyBrokerError,
    MayNotConnectError,
    NoAnswerError,
    NotRunningError,
    ProtocolError,
    ShortageError,
    UnavailableError,
    UntrustedError,
    _system,
)
from ._path import check_way, trusts

PACKET_BYTES = 4096
#: How long a client waits for a reply or a whole list, in seconds.
REPLY = 10.0
#: The longest wait that is accepted from a busy broker, in milliseconds.
LONGEST_BUSY = 3_600_000

_NAME = re.compile(rb"[a-z0-9][a-z0-9._-]{0,62}")
_NUMBERED = re.compile(rb"([0-9]+) ([ -~]+)")
_TEXT = re.compile(rb"[ -~]*")
_INT = array.array("i").itemsize


def check_name(name: str) -> None:
    """Raises an error if it is not the name of a key."""
    encoded = name.encode("utf-8", "replace")
    if _NAME.fullmatch(encoded):
        return
    if not encoded:
        reason = "a key name is missing"
    elif len(encoded) > 63:
        reason = f"a key name has at most 63 characters, this one {len(encoded)}"
    else:
        reason = "a key name is made of a-z, 0-9, '.', '_' and '-', and begins with a letter or a digit"
    raise InvalidNameError(name, reason)


def _decimal(digits: bytes) -> int:
    number = int(digits) if re.fullmatch(rb"[0-9]{1,64}", digits) else 1 << 64
    if number >= 1 << 64:
        raise ProtocolError("the reply is malformed")
    return number


def _is_regular_file(descriptor: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return False


class Reply:
    """A reply with exactly as many descriptors as it announces."""

    def __init__(self, packet: bytes, descriptors: List[int]) -> None:
        #: The reply's letter; `k` is a K with a generation.
        self.verb = packet[1:2]
        self.decision = 0
        #: The generation of K on a watch, the milliseconds of B.
        self.number = 0
        self.text = ""
        self.names: List[str] = []
        self.descriptors = descriptors
        rest = packet[2:]
        if packet[:1] != b"1" or not self._parse(rest):
            raise ProtocolError("the reply is malformed")
        came = len(descriptors)
        if not (1 <= came <= 2 if self.verb in (b"K", b"k") else came == 0):
            raise ProtocolError(f"{came} descriptors came with the reply")
        if not all(map(_is_regular_file, descriptors)):
            raise ProtocolError("what was handed over is not a regular file")

    def _parse(self, rest: bytes) -> bool:
        if self.verb == b"K":
            parts = rest.split(b" ", 1)
            self.decision = _decimal(parts[0])
            if len(parts) == 2:
                self.verb, self.number = b"k", _decimal(parts[1])
            return True
        if self.verb == b"L":
            lines = [line for line in rest.split(b"\n") if line]
            if not all(_NAME.fullmatch(line) for line in lines):
                return False
            self.names = [line.decode("ascii") for line in lines]
            return True
        if self.verb == b"V":
            self.text = rest.decode("latin-1")
            return _TEXT.fullmatch(rest) is not None
        if self.verb == b"S":
            return all(_TEXT.fullmatch(line) for line in rest.split(b"\n"))
        if self.verb in (b"D", b"U", b"E", b"B", b"X"):
            match = _NUMBERED.fullmatch(rest)
            if not match:
                return False
            self.decision = _decimal(match[1])
            self.text = match[2].decode("ascii")
            if self.verb == b"B":
                self.number = min(_decimal(match[2]), LONGEST_BUSY)
            return True
        return False

    def error(self, key: str) -> KeyBrokerError:
        """The error for a caller that did not get what it asked for. What came nevertheless is closed."""
        while self.descriptors:
            os.close(self.descriptors.pop())
        if self.verb == b"D":
            return DeniedError(key, self.decision)
        if self.verb == b"U":
            return UnavailableError(key, self.decision, self.text)
        if self.verb == b"B":
            return BusyError(self.decision, self.number)
        if self.verb == b"E":
            return ProtocolError(
                f"the broker did not understand the request: {self.text} (decision {self.decision})"
            )
        return ProtocolError("the reply is to another request")


class Connection:
    """A connection to a process that was checked to be the broker."""

    def __init__(self, path: str) -> None:
        check_way(path)
        self.path = path
        try:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        except OSError as error:
            raise _system("socket", error) from None
        try:
            # A program may have set a time limit for all its sockets, which would make this one non-blocking.
            self.socket.setblocking(True)
            self._connect()
            self.socket.setblocking(False)
            self._check_listener()
        except BaseException:
            self.socket.close()
            raise

    def _connect(self) -> None:
        # If the listener's backlog is full, there is a broker. A blocking connect waits for room, first come, first served.
        # Python's own time limit would make the socket non-blocking.
        end = time.monotonic() + REPLY
        try:
            if not self.path or "\0" in self.path:
                raise OSError(errno.EINVAL, "")
            while True:
                # Zero would be no limit.
                rest = max(int((end - time.monotonic()) * 1_000_000), 1)
                limit = struct.pack("@ll", *divmod(rest, 1_000_000))
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
                self.socket.connect(self.path)
                if self._is_connected():
                    break
                # A signal interrupted the wait, and Python took that for a connection.
        except BlockingIOError:
            raise NoAnswerError(self.path, REPLY) from None
        except FileNotFoundError:
            raise NotRunningError(self.path, "No such file or directory") from None
        except ConnectionRefusedError:
            raise NotRunningError(self.path, "Connection refused") from None
        except PermissionError as error:
            if error.errno != errno.EACCES:
                raise _system("connect", error, self.path) from None
            raise MayNotConnectError(self.path) from None
        except OSError as error:
            if error.errno is None:  # Python itself says "AF_UNIX path too long"
                error = OSError(errno.ENAMETOOLONG, "")
            raise _system("connect", error, self.path) from None

    def _is_connected(self) -> bool:
        try:
            self.socket.getpeername()
        except OSError as error:
            if error.errno == errno.ENOTCONN:
                return False
            raise
        return True

    def _check_listener(self) -> None:
        # In a sticky directory such as /tmp, anybody can create the socket.
        try:
            credentials = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
        except OSError as error:
            raise _system("getsockopt SO_PEERCRED", error) from None
        uid = struct.unpack("iII", credentials)[1]
        if not trusts(uid):
            raise UntrustedError(self.path, f"uid {uid} listens there, neither root nor this account")

    def close(self) -> None:
        self.socket.close()

    def send(self, packet: bytes) -> None:
        try:
            self.socket.send(packet, socket.MSG_NOSIGNAL)
        except BrokenPipeError:
            pass  # a busy broker sends its reply and closes without reading the request; the reply can still be read
        except OSError as error:
            raise _system("sendmsg", error) from None

    def is_readable(self, timeout: Optional[float]) -> bool:
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        try:
            return bool(poll.poll(None if timeout is None else max(0, min(timeout, 86400)) * 1000))
        except OSError as error:
            raise _system("poll", error) from None

    def receive(self, end: Optional[float]) -> Reply:
        """The next packet, which must arrive before `end`."""
        while True:
            # Without this check, a broker that sends packets without an end would never be timed out.
            rest = None if end is None else end - time.monotonic()
            if rest is not None and rest <= 0:
                raise NoAnswerError(self.path, REPLY)
            if not self.is_readable(rest):
                continue
            try:
                packet, control, flags, _ = self.socket.recvmsg(
                    PACKET_BYTES, socket.CMSG_SPACE(12 * _INT), socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                continue
            except ConnectionResetError:
                raise NotRunningError(self.path, "it closed the connection without an answer") from None
            except OSError as error:
                raise _system("recvmsg", error) from None
            break
        came = array.array("i")
        for level, kind, content in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                came.frombytes(content[: len(content) - len(content) % _INT])
        descriptors = came.tolist()
        try:
            if not packet:
                raise NotRunningError(self.path, "it closed the connection without an answer")
            if flags & socket.MSG_CTRUNC:
                raise ShortageError(
                    "the kernel withheld a descriptor, as it also does if a security module such as SELinux "
                    "forbids the transfer"
                )
            if flags & socket.MSG_TRUNC:
                raise ProtocolError("the reply is malformed")
            return Reply(packet, descriptors)
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
