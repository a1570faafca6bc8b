"""Checks the directories above the broker's socket.

It walks a component at a time, on handles, so that what was checked is what is used. Must never follow a symbolic link
that an untrusted account could have made.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import List, Tuple

from ._errors import (
    KeyBrokerError,
    MayNotConnectError,
    NotRunningError,
    ShortageError,
    UntrustedError,
    _described,
    _is_shortage,
)

_MOST_LINKS = 40


def check_way(socket: str) -> None:
    """Raises an error if anybody but root and the caller could have put the socket where it is."""
    walk = _Walk(socket)
    try:
        walk.run()
    finally:
        walk.close()


def unmapped() -> int:
    """The uid that the kernel shows for every account that this user namespace does not know."""
    try:
        with open("/proc/sys/kernel/overflowuid", encoding="ascii") as file:
            return int(file.read(32))
    except (OSError, ValueError):
        return 65534


def trusts(uid: int) -> bool:
    """Whether it is root or the caller."""
    return uid == 0 or (uid == os.geteuid() and uid != unmapped())


class _Walk:
    def __init__(self, socket: str) -> None:
        self.socket = socket
        self.caller = os.geteuid()
        # The handle, the status and the path of each directory from the root to here.
        self.levels: List[Tuple[int, os.stat_result, str]] = []

    def close(self) -> None:
        while self.levels:
            os.close(self.levels.pop()[0])

    def run(self) -> None:
        whole = self.socket
        if not whole.startswith("/"):
            try:
                whole = os.getcwd() + "/" + whole
            except OSError as error:
                raise self.failed("getcwd", self.socket, error) from None
        names = [name for name in whole.split("/") if name][:-1]
        whole = "/" + "/".join(names)
        self.step("/", "/", False)
        links = 0
        ahead = names[::-1]
        while ahead:
            name = ahead.pop()
            if name == ".":
                continue
            if name == "..":
                if len(self.levels) > 1:
                    os.close(self.levels.pop()[0])
                continue
            target = self.step(name, self.levels[-1][2] + "/" + name, not ahead, whole)
            if target is None:
                continue
            links += 1
            if links > _MOST_LINKS:
                raise UntrustedError(self.socket, f"{whole} leads over more than {_MOST_LINKS} symbolic links")
            if target.startswith("/"):
                while len(self.levels) > 1:
                    os.close(self.levels.pop()[0])
            ahead += [part for part in target.split("/") if part][::-1]

    def step(self, name: str, path: str, is_last: bool, whole: str = "/") -> "str | None":
        """Goes to `name`. If that is a symbolic link, it stays and returns the link's target."""
        parent = self.levels[-1] if self.levels else None
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(name, flags, dir_fd=parent[0] if parent else None)
        except (OSError, ValueError) as error:
            raise self.failed("openat" if parent else "open", path, error) from None
        keep = False
        try:
            status = os.fstat(handle)
            if stat.S_ISDIR(status.st_mode):
                self.check_directory(status, path)
                self.levels.append((handle, status, "" if path == "/" else path))
                keep = True
                return None
            if not stat.S_ISLNK(status.st_mode):
                if is_last:
                    raise UntrustedError(self.socket, f"{whole} is not a directory")
                raise NotRunningError(self.socket, f"{path} is not a directory")
            # If only trusted accounts can write to the directory, the owner of the link does not matter.
            if parent and parent[1].st_mode & 0o022:
                self.check_owner(status, path)
            return os.readlink("", dir_fd=handle)
        except OSError as error:
            raise self.failed("fstat", path, error) from None
        finally:
            if not keep:
                os.close(handle)

    def check_owner(self, status: os.stat_result, path: str) -> None:
        if not trusts(status.st_uid):
            overflow = unmapped()
            if status.st_uid == overflow:
                raise UntrustedError(
                    self.socket,
                    f"{path} belongs to uid {overflow}, which stands for every account that this user namespace does "
                    "not know; see USER NAMESPACES in keybroker-sockets(7)",
                )
            owners = "root" if self.caller in (0, overflow) else f"root or uid {self.caller}"
            raise UntrustedError(self.socket, f"{path} belongs to uid {status.st_uid}, not to {owners}")

    def check_directory(self, status: os.stat_result, path: str) -> None:
        self.check_owner(status, path)
        # In a sticky directory of root, such as /tmp, others can only add entries of their own.
        if status.st_mode & stat.S_ISVTX and status.st_uid == 0:
            return
        if status.st_mode & 0o022:
            whom = "everybody" if status.st_mode & 0o002 else f"group {status.st_gid}"
            mode = f"{stat.S_IMODE(status.st_mode):04o}"
            raise UntrustedError(self.socket, f"{path} can be written to by {whom} (mode {mode})")

    def failed(self, call: str, path: str, error: "OSError | ValueError") -> KeyBrokerError:
        code = (error.errno if isinstance(error, OSError) else None) or errno.EINVAL
        if code == errno.ENOENT:
            return NotRunningError(self.socket, f"{path} does not exist")
        if code == errno.ENOTDIR:
            return NotRunningError(self.socket, f"{path} does not exist: what is above it is not a directory")
        if code == errno.ELOOP:
            return UntrustedError(self.socket, f"{path} was replaced by a symbolic link just now")
        if _is_shortage(code):
            return ShortageError(_described(call, code, path))
        return MayNotConnectError(self.socket)
