#!/usr/bin/python3
"""given.py [ARG...]: prints what it was given by whoever started it, as one JSON object."""

import fcntl
import json
import os
import stat
import sys

F_GET_SEALS = 1034

before = sorted(int(name) for name in os.listdir("/proc/self/fd"))
files = {}
for number in before:
    try:
        status = os.fstat(number)
    except OSError:
        continue  # the directory that was listed
    file = {"target": os.readlink(f"/proc/self/fd/{number}")}
    if file["target"].startswith("/memfd:keybroker"):
        file["mode"] = stat.filemode(status.st_mode)
        file["owner"] = status.st_uid
        file["offset"] = os.lseek(number, 0, os.SEEK_CUR)
        with open(f"/proc/self/fd/{number}", "rb") as opened:
            file["content"] = opened.read().decode("latin-1")
        try:
            file["seals"] = fcntl.fcntl(number, F_GET_SEALS)
        except OSError:
            file["seals"] = -1
        try:
            open(f"/proc/self/fd/{number}", "r+b").close()
            file["writable"] = True
        except OSError as error:
            file["writable"] = False
        os.set_inheritable(number, True)
    files[str(number)] = file

with open("/proc/self/status", encoding="ascii") as lines:
    signals = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("SigBlk", "SigIgn", "SigPnd"))}

print(json.dumps({
    "files": files, "signals": signals, "pid": os.getpid(), "environment": dict(os.environ),
    "arguments": [os.fsencode(argument).decode("latin-1") for argument in sys.argv[1:]],
}), flush=True)
if os.environ.get("STAY"):
    sys.stdin.readline()
