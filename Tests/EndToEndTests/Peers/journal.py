"""A journald in small: journal.py SOCKET [PROGRAM ARG...]

Listens at SOCKET and prints each entry as a JSON object; starts PROGRAM, where there is one, with a stream to this
journal as its standard error, and prints that line by line. Obeys `hold` and `go` (read nothing, read on), `leave`
and `return` (nobody listens, somebody does again).
"""
import json, os, select, socket, subprocess, sys

held = False
entries = program = None


def listen():
    global entries
    entries = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    entries.bind(sys.argv[1])
    os.chmod(sys.argv[1], 0o666)


def say(**what):
    print(json.dumps(what), flush=True)


listen()
stream, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
if len(sys.argv) > 2:
    status = os.fstat(theirs.fileno())
    program = subprocess.Popen(sys.argv[2:], stderr=theirs, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                               env=dict(os.environ, JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}"))
    theirs.close()
    say(pid=program.pid)
else:
    say(pid=os.getpid())

rest = b""
while True:
    readers = [0] + ([] if held else [stream] + ([entries] if entries else []))
    for ready in select.select(readers, [], [])[0]:
        if ready == 0:
            # One step at a time: who sends them waits for each.
            step = os.read(0, 4096).decode().strip()
            if not step:
                if program:
                    program.terminate()
                    program.wait()
                sys.exit()
            if step in ("hold", "go"):
                held = step == "hold"
            elif step == "leave":
                entries.close()
                os.unlink(sys.argv[1])
                entries = None
            elif step == "return":
                listen()
            say(did=step)
        elif ready is stream:
            data = stream.recv(65536)
            if not data:
                say(exited=program.wait())
                sys.exit()
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                say(line=line.decode())
        elif ready is entries:
            fields = entries.recv(65536).decode().splitlines()
            say(entry=dict(field.split("=", 1) for field in fields), fields=len(fields))
