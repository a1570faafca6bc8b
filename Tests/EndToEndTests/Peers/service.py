#!/usr/bin/python3
"""service.py KEY CERTIFICATE [late]: a service that reads its key again on SIGHUP, and tells of each reading in a line.

With "late" it handles SIGHUP only after a line on standard input. Other lines: "read" reads again, "end" ends.
"""

import json
import os
import signal
import ssl
import sys

key, certificate = sys.argv[1:3]
readings = 0


def read(why):
    global readings
    readings += 1
    line = {"why": why, "count": readings}
    # As real servers do, the certificate first.
    with open(certificate, encoding="ascii") as file:
        line["certificate"] = file.read()
    with open(key, encoding="ascii") as file:
        line["key"] = file.read()
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        line["pair"] = True
    except (ssl.SSLError, OSError) as error:
        line["pair"] = False
        line["error"] = str(error)
    line["mtime"] = os.stat(key).st_mtime_ns
    line["descriptors"] = len(os.listdir("/proc/self/fd"))
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def prepare():
    signal.signal(signal.SIGHUP, lambda *_: read("signal"))


# Whoever runs the tests may have blocked or ignored it.
signal.pthread_sigmask(signal.SIG_SETMASK, [])
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if sys.argv[3:] != ["late"]:
    prepare()
print(json.dumps({"pid": os.getpid()}), flush=True)
for command in sys.stdin:
    if command == "handle\n":
        # It is told of this reading first.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
        prepare()
        read("handle")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
    elif command == "read\n":
        read("asked")
    elif command == "end\n":
        sys.exit(3)
