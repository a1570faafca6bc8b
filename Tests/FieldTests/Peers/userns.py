"""Runs a command in a user namespace of its own.

userns.py INSIDE:OUTSIDE:COUNT UID COMMAND ARG...

The uids and gids from INSIDE on are those from OUTSIDE on. The command runs as UID, a number inside, without
supplementary groups. Needs root.
"""

import ctypes
import os
import sys

CLONE_NEWUSER = 0x10000000

mapping, uid, command = sys.argv[1].replace(":", " "), int(sys.argv[2]), sys.argv[3:]
parent = os.getpid()
made, making = os.pipe()
mapped, mapping_done = os.pipe()
child = os.fork()
if child == 0:
    # The numbers can only be set from outside. The child does that for its parent, which becomes the command.
    os.close(making)
    os.read(made, 1)
    for kind in ("uid", "gid"):
        with open(f"/proc/{parent}/{kind}_map", "w", encoding="ascii") as file:
            file.write(mapping)
    os.write(mapping_done, b"x")
    os._exit(0)
if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
    raise OSError(ctypes.get_errno(), "unshare")
os.write(making, b"x")
os.close(mapping_done)
if not os.read(mapped, 1):
    sys.exit("the numbers could not be set")
os.waitpid(child, 0)
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
os.execv(command[0], command)
