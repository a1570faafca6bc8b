"""What can go wrong. The texts are those of the library for Swift.

Must never have a text that does not say what to do.
"""

from __future__ import annotations

import errno
import os
from typing import Optional

_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS)


class KeyBrokerError(Exception):
    """A request to the broker failed. The text says what happened and what to do about it."""

    #: The exit status for a program that ends because of this error (sysexits.h).
    exit_status: int = 71
    #: The ``seq`` of the record in the audit log; 0 if there is none.
    decision: int = 0


class DeniedError(KeyBrokerError):
    """The policy does not permit the key to the caller, or there is no such key. The broker does not say which.

    On a watch: not any more.
    """

    exit_status = 77

    def __init__(self, key: str, decision: int) -> None:
        if decision == 0:
            text = f"key '{key}': not permitted; the broker cannot write its audit log, so no record says why"
        else:
            text = (
                f"key '{key}': not permitted (decision {decision}); "
                f"the audit log has the reason: keybroker audit show --seq {decision}"
            )
        super().__init__(text)
        self.key = key
        self.decision = decision


class UnavailableError(KeyBrokerError):
    """The caller may have the key, but the file cannot be handed over now.

    If ``decision`` is 0, the broker could not write its audit log.
    """

    def __init__(self, key: str, decision: int, reason: str) -> None:
        if decision == 0:
            text = (
                f"key '{key}': the broker cannot write its audit log, and grants nothing until it can; "
                "the admin finds the cause in the daemon's own messages"
            )
        elif reason == "policy-faulty":
            text = (
                f"the broker's policy is faulty, so it serves nobody (decision {decision}); "
                "the admin finds the faults with: keybroker policy check"
            )
        else:
            text = (
                f"key '{key}': permitted, but it cannot be handed over now: {reason} (decision {decision}); "
                f"the audit log says what is wrong with which file: keybroker audit show --seq {decision}"
            )
        super().__init__(text)
        self.key = key
        self.decision = decision
        self.reason = reason
        self.exit_status = 75 if decision else 74


class BusyError(KeyBrokerError):
    """A limit was reached, and nothing was opened. Ask again after ``retry_after`` seconds."""

    exit_status = 75

    def __init__(self, decision: int, milliseconds: int) -> None:
        self.retry_after = milliseconds / 1000
        super().__init__(
            f"the broker is busy (decision {decision}): a limit was reached; ask again in {self.retry_after} seconds"
        )
        self.decision = decision


class NotRunningError(KeyBrokerError):
    """Nothing listens at the socket, or the broker has ended."""

    exit_status = 69

    def __init__(self, socket: str, reason: str) -> None:
        super().__init__(
            f"no broker at {socket}: {reason}; start keybrokerd, or name its socket with KEYBROKER_SOCKET"
        )


class MayNotConnectError(KeyBrokerError):
    """The caller may not connect to the socket (``EACCES``)."""

    exit_status = 77

    def __init__(self, socket: str) -> None:
        group = _group_of(socket)
        super().__init__(
            f"may not connect to {socket}: this account is not in the socket's group, {group}; "
            f"add the account (usermod -aG {group} ACCOUNT), or give its unit SupplementaryGroups={group}; "
            "either counts from the next login or service start"
        )


class UntrustedError(KeyBrokerError):
    """Somebody else could have created the socket, or an account other than root and the caller answered."""

    exit_status = 69

    def __init__(self, socket: str, reason: str) -> None:
        super().__init__(f"{socket} is not to be trusted: {reason}")


class NoAnswerError(KeyBrokerError):
    """The broker runs, but did not answer in time."""

    exit_status = 69

    def __init__(self, socket: str, seconds: float) -> None:
        super().__init__(f"the broker at {socket} did not answer within {float(seconds)} seconds")


class ProtocolError(KeyBrokerError):
    """The answer does not follow the protocol."""

    def __init__(self, what: str) -> None:
        super().__init__(f"what answered is not this broker, or of another version: {what}")


class InvalidNameError(KeyBrokerError):
    """The name is not a valid name of a key. No request was sent."""

    exit_status = 64

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"'{_printable(name)}': {reason}")


class UnusableFileError(KeyBrokerError):
    """The file that was handed over cannot be read as a key or certificate."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"key '{key}': the file that was handed over cannot be read: {reason}")


class ShortageError(KeyBrokerError):
    """This process or the system has no free descriptor, or no memory."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason}: this process may have no more open files (raise RLIMIT_NOFILE, ulimit -n), "
            "or the system has none left"
        )


class SystemCallError(KeyBrokerError):
    """A system call of this process failed."""

    def __init__(self, call: str, code: int) -> None:
        super().__init__(_described(call, code))
        self.errno = code


def _group_of(socket: str) -> str:
    """The name of the socket's group, or its number if /etc/group does not have it."""
    try:
        number = str(os.stat(socket).st_gid)
    except OSError:
        return "keyusers"
    try:
        with open("/etc/group", encoding="utf-8", errors="replace") as groups:
            for line in groups:
                fields = line.split(":")  # NAME:PASSWORD:NUMBER:MEMBERS
                if len(fields) >= 4 and fields[2] == number:
                    return fields[0]
    except OSError:
        pass
    return number


def _is_shortage(code: Optional[int]) -> bool:
    return code in _SHORTAGES


def _described(call: str, code: int, subject: Optional[str] = None) -> str:
    """ "connect /run/x: Permission denied (EACCES)" """
    what = call if subject is None else f"{call} {subject}"
    return f"{what}: {os.strerror(code)} ({errno.errorcode.get(code, f'errno {code}')})"


def _system(call: str, error: OSError, subject: Optional[str] = None) -> KeyBrokerError:
    code = error.errno or errno.EIO
    return ShortageError(_described(call, code, subject)) if _is_shortage(code) else SystemCallError(call, code)


def _printable(text: str) -> str:
    return "".join(c if " " <= c <= "~" else f"\\u{{{ord(c):x}}}" for c in text)
