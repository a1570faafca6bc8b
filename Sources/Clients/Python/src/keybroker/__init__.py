"""Gets TLS private keys from the key broker as open descriptors.

    with KeyBroker().get("web-tls", wait=5) as key:
        key.load_into(context)

It is for Linux, and needs no other package. Must never trust a socket only because of its path, and must never wait
without a limit, unless the caller asks for that.
"""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Iterator, List, Optional, Tuple, Type

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
    SystemCallError,
    UnavailableError,
    UntrustedError,
    UnusableFileError,
    _system,
)
from ._key import Key, Secret
from ._wire import REPLY, Connection, Reply, check_name

__version__ = "0.1.0"
__all__ = [
    "BusyError",
    "DeniedError",
    "InvalidNameError",
    "Key",
    "KeyBroker",
    "KeyBrokerError",
    "MayNotConnectError",
    "NoAnswerError",
    "NotRunningError",
    "ProtocolError",
    "Secret",
    "ShortageError",
    "SystemCallError",
    "UnavailableError",
    "UntrustedError",
    "UnusableFileError",
    "Watch",
]

DEFAULT_SOCKET = "/run/keybroker/broker.sock"
_FIRST_PAUSE, _LONGEST_PAUSE, _AFTER_SHORTAGE = 0.005, 0.2, 1.0
#: A watch that ends sooner is followed by a longer pause than the one before it.
_SETTLED = 1.0
_MOST_NAMES = 1_000_000
# About 31 years are as good as no limit.
_NO_LIMIT = 1_000_000_000.0


class KeyBroker:
    """The broker, as a service sees it. It holds no connection: each call connects, asks and closes it.

    ``socket`` is the path of the broker's socket. Without it the environment variable ``KEYBROKER_SOCKET`` is used (not
    in a program with more rights than its caller, as secure_getenv(3) has it), or else ``/run/keybroker/broker.sock``.

    In all calls, ``wait`` is how many seconds to wait for a broker that is still starting or is busy. 0 is no wait.
    """

    def __init__(self, socket: Optional[str] = None) -> None:
        self.socket = socket if socket is not None else _environment("KEYBROKER_SOCKET", DEFAULT_SOCKET)

    def get(self, name: str, wait: float = 0) -> Key:
        """Asks for a key. It is a context manager that closes the descriptors at its end."""
        check_name(name)
        connection, reply, _ = self._exchange(b"1G" + name.encode("ascii"), name, wait)
        try:
            if reply.verb != b"K":
                raise reply.error(name)
            return _granted(name, reply)
        finally:
            connection.close()

    def list(self, wait: float = 0) -> List[str]:
        """The names of the keys that the caller may get, sorted."""
        connection, reply, end = self._exchange(b"1L", "", wait)
        names: List[str] = []
        try:
            while reply.verb == b"L" and reply.names:
                for name in reply.names:
                    # If each name must be larger than the last, a lying broker cannot send names for ever.
                    if names and name <= names[-1]:
                        raise ProtocolError("the names are not in their order")
                    names.append(name)
                if len(names) > _MOST_NAMES:
                    raise ProtocolError(f"there are more than {_MOST_NAMES} names")
                reply = connection.receive(end)
            # The only valid end of a list is a reply without names.
            if reply.verb != b"L":
                raise reply.error("")
            return names
        finally:
            connection.close()

    def version(self, wait: float = 0) -> str:
        """The version of the broker's program."""
        connection, reply, _ = self._exchange(b"1V", "", wait)
        connection.close()
        if reply.verb != b"V":
            raise reply.error("")
        return reply.text

    def open_watch(self, name: str, wait: float = 0) -> "Watch":
        """Watches a key over one connection. See :class:`Watch`; :meth:`watch` is simpler."""
        check_name(name)
        connection, reply, _ = self._exchange(b"1W" + name.encode("ascii"), name, wait)
        try:
            return Watch(connection, _watched(name, reply))
        except BaseException:
            connection.close()
            raise

    def watch(self, name: str, wait: float = 0) -> Iterator[Key]:
        """Gives the key, and then each new one as soon as its file has changed. The caller closes each.

        ``wait`` is for the first one. If the broker ends, or a new key finds no free descriptor here, it is asked
        again until that is over, and no rotation that happened meanwhile is lost. Raises :class:`DeniedError` if the
        permission or the key is taken away.
        """
        watch = self.open_watch(name, wait)
        began, pause = time.monotonic(), _FIRST_PAUSE
        last: Optional[Tuple[int, ...]] = None
        try:
            while True:
                try:
                    key = watch.next()
                except (NotRunningError, ShortageError) as error:
                    watch.close()
                    if time.monotonic() - began >= _SETTLED:
                        pause = _FIRST_PAUSE
                    # The broker may have a grant in its log for each attempt.
                    time.sleep(_AFTER_SHORTAGE if isinstance(error, ShortageError) else pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
                    watch = self._reopened(name)
                    began = time.monotonic()
                    continue
                if key is None:
                    continue
                # After a restart of the broker, the key may be the one that was given before.
                present = _identity(key)
                if present == last:
                    key.close()
                    continue
                last = present
                yield key
        finally:
            watch.close()

    def _reopened(self, name: str) -> "Watch":
        pause = _FIRST_PAUSE
        while True:
            try:
                return self.open_watch(name, _NO_LIMIT)
            except (UnavailableError, NoAnswerError, ShortageError, MayNotConnectError, UntrustedError):
                # What is in the place of the broker or of the key for a moment must not end the watch.
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _exchange(self, packet: bytes, name: str, wait: float) -> Tuple[Connection, Reply, float]:
        """The first answer. Tries again if the broker is busy, does not run or ends, as long as `wait` permits."""
        deadline = time.monotonic() + min(max(wait, 0.0), _NO_LIMIT)
        pause = _FIRST_PAUSE
        while True:
            try:
                connection = Connection(self.socket)
                try:
                    connection.send(packet)
                    end = min(time.monotonic(), deadline) + REPLY
                    reply = connection.receive(end)
                except BaseException:
                    connection.close()
                    raise
            except NotRunningError:
                if time.monotonic() + pause > deadline:
                    raise
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            if reply.verb != b"B":
                return connection, reply, end
            connection.close()
            delay = max(reply.number, 1) / 1000
            if time.monotonic() + delay > deadline:
                raise reply.error(name)
            time.sleep(delay)


class Watch:
    """A watch on a key over one connection: a context manager, and a file object for ``select`` and ``add_reader``."""

    def __init__(self, connection: Connection, first: Key) -> None:
        self._connection = connection
        self._name = first.name
        self._first: Optional[Key] = first

    def fileno(self) -> int:
        """Readable if :meth:`next` would not wait. -1 if the watch is closed."""
        return self._connection.socket.fileno()

    def next(self, timeout: Optional[float] = None) -> Optional[Key]:
        """The next key. The first call returns the present one at once.

        None if no new key comes within ``timeout`` seconds. Raises :class:`NotRunningError` if the broker has ended:
        open the watch again with a wait, and its first key is the present one, so that no rotation is lost.
        """
        first, self._first = self._first, None
        if first is not None:
            return first
        if self.fileno() < 0:
            raise NotRunningError(self._connection.path, "the watch is closed")
        end = None if timeout is None else time.monotonic() + timeout
        while not self._connection.is_readable(None if end is None else end - time.monotonic()):
            if end is not None and time.monotonic() >= end:
                return None
        try:
            return _watched(self._name, self._connection.receive(None))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the watch. It does no harm to call it again."""
        if self._first is not None:
            self._first.close()
            self._first = None
        self._connection.close()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()


def _granted(name: str, reply: Reply) -> Key:
    certificate = reply.descriptors[1] if len(reply.descriptors) > 1 else None
    return Key(name, reply.decision, reply.descriptors[0], certificate, reply.number)


def _watched(name: str, reply: Reply) -> Key:
    if reply.verb == b"X":
        raise DeniedError(name, reply.decision)
    if reply.verb != b"k":
        raise reply.error(name)
    return _granted(name, reply)


def _identity(key: Key) -> Tuple[int, ...]:
    numbers: List[int] = []
    for descriptor in (key.key, key.certificate):
        if descriptor is not None:
            try:
                status = os.fstat(descriptor)
            except OSError as error:
                raise _system("fstat", error) from None
            numbers += [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    return tuple(numbers)


def _environment(name: str, otherwise: str) -> str:
    """The variable, unless this program has more rights than its caller (AT_SECURE)."""
    if name not in os.environ:
        return otherwise
    at_secure = 23
    try:
        import ctypes

        getauxval = ctypes.CDLL(None).getauxval
    except (AttributeError, ImportError, OSError):
        is_secure = os.getuid() != os.geteuid() or os.getgid() != os.getegid()
    else:
        getauxval.restype = ctypes.c_ulong
        is_secure = bool(getauxval(ctypes.c_ulong(at_secure)))
    return otherwise if is_secure else os.environ[name]
