"""credential.py SOCKET [UID]: connects as the service manager does, or as somebody who pretends to be it.

Reads a step a line from standard input and prints its result as one JSON object a line. NAME is the name of the peer's
socket: `@` stands for the NUL of an abstract name, and `-` for no name at all.

    load NAME UNIT  connects from within the unit, reads all, and prints it
    open NAME UNIT  the same, but waits for the first bytes and does not read them; prints a number
    wait NAME UNIT  connects, and waits for nothing; prints a number
    finish N      reads all of that connection, and prints it
    read N BYTES  reads so many bytes
    close N       closes it
"""
import json, os, select, socket, sys

path = sys.argv[1]
if len(sys.argv) > 2:
    os.setgroups([])
    os.setresgid(*[int(sys.argv[2])] * 3)
    os.setresuid(*[int(sys.argv[2])] * 3)

connections = []


def connect(name, unit):
    group = "%s/%s/cgroup.procs" % (os.environ["GROUPS_OF_UNITS"], unit)
    if os.geteuid() == 0 and unit != "-":
        with open(group, "w") as processes:
            processes.write("%d\n" % os.getpid())
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(20)
    if name != "-":
        name = name.encode().decode("unicode_escape").encode("latin-1")
        connection.bind(b"\0" + name[1:] if name.startswith(b"@") else name)
    connection.connect(path)
    connection.shutdown(socket.SHUT_WR)
    return connection


def rest(connection):
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def content(data):
    return {"length": len(data), "content": data[:4096].decode("latin-1")}


def step(word, arguments):
    if word == "load":
        with connect(*arguments) as connection:
            return content(rest(connection))
    if word in ("open", "wait"):
        connections.append(connect(*arguments))
        # By then the broker has asked the kernel where this process is.
        if word == "open":
            select.select([connections[-1]], [], [], 20)
        return {"number": len(connections) - 1}
    connection = connections[int(arguments[0])]
    if word == "finish":
        return content(rest(connection))
    if word == "read":
        return content(connection.recv(int(arguments[1]), socket.MSG_WAITALL))
    connection.close()
    return {}


for line in sys.stdin:
    word, *arguments = line.split()
    try:
        result = step(word, arguments)
    except OSError as error:
        result = {"error": type(error).__name__}
    print(json.dumps(result), flush=True)
