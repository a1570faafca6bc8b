"""A key that was handed over: open descriptors, and what can be done with them.

Must never move a file offset, which all copies of a descriptor share. Must never leave the key's bytes in memory that
is not overwritten, as far as this module holds them.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import ssl
from types import TracebackType
from typing import Callable, Optional, Type, Union

from ._errors import UnusableFileError, _described, _system

#: The largest key or certificate that is read into memory, in bytes.
KEY_BYTES = 1 << 20

Password = Union[str, bytes, bytearray, Callable[[], Union[str, bytes, bytearray]]]


class Secret:
    """The content of a file, in memory that is kept out of core dumps and child processes, and overwritten at the end.

    It is a context manager that gives a :class:`memoryview`. What is copied out of it is the caller's to overwrite.
    """

    def __init__(self, room: int) -> None:
        self._pages = mmap.mmap(-1, room, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._count = 0
        self._view: Optional[memoryview] = None
        # MADV_DONTDUMP and MADV_WIPEONFORK (madvise(2)). A kernel without one refuses it, and the key is useful still.
        for advice in (16, 18):
            try:
                self._pages.madvise(advice)
            except OSError:
                pass

    def __len__(self) -> int:
        return self._count

    def __enter__(self) -> memoryview:
        self._view = memoryview(self._pages)[: self._count]
        return self._view

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.wipe()

    def wipe(self) -> None:
        """Overwrites the memory and gives it back. A view of it is of no use afterwards."""
        if self._pages.closed:
            return
        self._pages[:] = bytes(len(self._pages))
        if self._view is not None:
            self._view.release()
            self._view = None
        try:
            self._pages.close()
        except BufferError:
            pass  # the caller made another view of it; all is overwritten nevertheless

    def __del__(self) -> None:
        if hasattr(self, "_pages"):
            self.wipe()


class Key:
    """An open private key, with its certificate if it has one: a context manager that closes both at its end.

    The descriptors are of regular files, read-only and close-on-exec. Read them with :func:`os.pread`, from offset 0.
    """

    def __init__(self, name: str, decision: int, key: int, certificate: Optional[int], generation: int = 0) -> None:
        #: The name that was asked for.
        self.name = name
        #: The ``seq`` of the record in the audit log.
        self.decision = decision
        #: The descriptor of the key, or -1 after :meth:`close`.
        self.key = key
        #: The descriptor of the certificate; None if the policy names none.
        self.certificate = certificate
        #: On a watch: counts the rotations of the key since the broker started. Otherwise 0.
        self.generation = generation

    def fileno(self) -> int:
        """The descriptor of the key."""
        return self.key

    def close(self) -> None:
        """Closes the descriptors. It does no harm to call it again."""
        key, certificate = self.key, self.certificate
        self.key, self.certificate = -1, None
        if key >= 0:
            os.close(key)
        if certificate is not None:
            os.close(certificate)

    def __enter__(self) -> "Key":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "key"):
            self.close()

    def __repr__(self) -> str:
        return f"<keybroker.Key {self.name!r}, decision {self.decision}>"

    def read_key(self) -> Secret:
        """The present content of the key file."""
        return self._read(self.key)

    def read_certificate(self) -> Optional[bytes]:
        """The present content of the certificate file, or None if there is no certificate."""
        if self.certificate is None:
            return None
        with self._read(self.certificate) as content:
            return bytes(content)

    def load_into(
        self, context: ssl.SSLContext, certificate: Optional[str] = None, password: Optional[Password] = None
    ) -> None:
        """Gives the context this key with its certificate chain, as ``SSLContext.load_cert_chain`` does.

        ``certificate`` is the path of a chain, for a key whose policy names none. Without it, a key without a
        certificate must have its chain in the same file. Raises :class:`ssl.SSLError` as ``load_cert_chain`` does.
        """
        key = self._memory_file(self.key)
        try:
            if certificate is not None:
                context.load_cert_chain(certificate, _path(key), password)
            elif self.certificate is None:
                context.load_cert_chain(_path(key), None, password)
            else:
                chain = self._memory_file(self.certificate)
                try:
                    context.load_cert_chain(_path(chain), _path(key), password)
                finally:
                    os.close(chain)
        finally:
            os.close(key)

    def _read(self, descriptor: int) -> Secret:
        call = "fstat"
        secret: Optional[Secret] = None
        try:
            before = os.fstat(descriptor)
            if before.st_size > KEY_BYTES:
                call = "read"
                raise OSError(errno.EFBIG, "")
            call = "mmap"
            # One byte more than the size, to notice a file that grows meanwhile.
            secret = Secret(before.st_size + 1)
            call = "pread"
            with memoryview(secret._pages) as room:
                while secret._count <= before.st_size:
                    with room[secret._count :] as rest:
                        count = os.preadv(descriptor, [rest], secret._count)
                    if count == 0:
                        break
                    secret._count += count
            call = "fstat"
            after = os.fstat(descriptor)
        except OSError as error:
            if secret is not None:
                secret.wipe()
            raise UnusableFileError(self.name, _described(call, error.errno or errno.EIO)) from None
        # st_ctime would not do: it also changes if another file takes this one's place.
        is_same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        if secret._count != before.st_size or not is_same:
            secret.wipe()
            raise UnusableFileError(self.name, "it changed while it was read")
        return secret

    def _memory_file(self, descriptor: int) -> int:
        """A sealed memory file of this account with the content: OpenSSL wants a path that it can open."""
        with self._read(descriptor) as content:
            memory = _memory_file()
            try:
                os.fchmod(memory, 0o400)
                written = 0
                while written < len(content):
                    with content[written:] as rest:
                        written += os.write(memory, rest)
                seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
                fcntl.fcntl(memory, fcntl.F_ADD_SEALS, seals)
            except OSError as error:
                os.close(memory)
                raise _system("write", error) from None
            return memory


def _memory_file() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    # MFD_NOEXEC_SEAL: nobody can execute it. Older kernels do not know that.
    for more in (0x8, 0):
        try:
            return os.memfd_create("keybroker", flags | more)
        except OSError as error:
            if error.errno != errno.EINVAL or more == 0:
                raise _system("memfd_create", error) from None
    raise AssertionError


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"
