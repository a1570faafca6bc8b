"""Runs a command as a service manager would that keeps it from changing its capabilities.

unit.py UID ROOT COMMAND ARG...

The command has CAP_DAC_READ_SEARCH as an ambient capability, and capset(2) fails with EPERM.
"""

import ctypes
import os
import struct
import sys

DAC_READ_SEARCH = 2
PR_SET_KEEPCAPS, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 8, 22, 38, 47
CAPSET = {"x86_64": 126, "aarch64": 91}[os.uname().machine]

libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    if function(*arguments) != 0:
        raise OSError(ctypes.get_errno(), function.__name__)


uid, root, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
os.chroot(root)
os.chdir("/")
call(libc.prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0)
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
bit = 1 << DAC_READ_SEARCH
call(libc.capset, struct.pack("Ii", 0x20080522, 0), struct.pack("6I", bit, bit, bit, 0, 0, 0))
call(libc.prctl, PR_CAP_AMBIENT, 2, DAC_READ_SEARCH, 0, 0)
call(libc.prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
# Load the number of the call; is it capset? EPERM; else permitted.
program = struct.pack("HBBIHBBIHBBIHBBI", 0x20, 0, 0, 0, 0x15, 0, 1, CAPSET, 0x06, 0, 0, 0x50001, 0x06, 0, 0, 0x7FFF0000)
code = ctypes.create_string_buffer(program)
call(libc.prctl, PR_SET_SECCOMP, 2, struct.pack("HxxxxxxP", 4, ctypes.addressof(code)), 0, 0)
os.execv(command[0], command)
