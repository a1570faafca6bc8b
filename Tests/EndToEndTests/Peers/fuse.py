"""fuse.py FOLDER: a small file system in user space that can hang. It is mounted at FOLDER, which has one file,
FOLDER/key, with the content "ONE".

Commands on standard input, each answered by a line on standard output:
  hang WORD...   no request of these kinds (lookup, getattr, open, read, flush, all) is answered from now on
  delay SECONDS  each request is answered so much later
  go             all requests are answered, those that wait too
  write TEXT     the file has another content, and is another file
"""
import ctypes, os, select, struct, sys, threading, time

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH, INIT = 1, 2, 3, 14, 15, 17, 18, 25, 26
OPENDIR, READDIR, RELEASEDIR, ACCESS, INTERRUPT, BATCH_FORGET = 27, 28, 29, 34, 36, 42
WORDS = {"lookup": LOOKUP, "getattr": GETATTR, "open": OPEN, "read": READ, "flush": FLUSH}
libc = ctypes.CDLL(None, use_errno=True)
folder = sys.argv[1]
content, inode, changed = b"ONE", 2, time.time_ns()
hanging, delay = set(), 0.0
waiting = []
lock = threading.Condition()


def attributes(number):
    directory = number == 1
    size = 0 if directory else len(content)
    seconds, nanoseconds = divmod(changed, 10**9)
    mode = 0o40755 if directory else 0o100600
    return struct.pack("=QQQQQQIIIIIIIIII", number, size, 1, seconds, seconds, seconds, nanoseconds, nanoseconds,
                       nanoseconds, mode, 1, 0, 0, 0, 4096, 0)


def reply(unique, body=b"", error=0):
    try:
        os.write(device, struct.pack("=IiQ", 16 + len(body), -error, unique) + body)
    except OSError:
        pass  # the request was interrupted


def answer(operation, unique, node, body):
    if operation == LOOKUP:
        if body != b"key\0":
            return reply(unique, error=2)
        reply(unique, struct.pack("=QQQQII", inode, 0, 0, 0, 0, 0) + attributes(inode))
    elif operation == GETATTR:
        if node not in (1, inode):
            return reply(unique, error=116)
        reply(unique, struct.pack("=QII", 0, 0, 0) + attributes(node))
    elif operation in (OPEN, OPENDIR):
        reply(unique, struct.pack("=QII", 1, 1, 0))  # FOPEN_DIRECT_IO: each read comes here
    elif operation == READ:
        _, offset, size = struct.unpack_from("=QQI", body)
        reply(unique, content[offset : offset + size])
    elif operation == READDIR:
        reply(unique)
    elif operation == STATFS:
        reply(unique, struct.pack("=QQQQQIIII24x", 0, 0, 0, 1, 1, 4096, 255, 4096, 0))
    elif operation in (RELEASE, RELEASEDIR, FLUSH, ACCESS):
        reply(unique)
    elif operation not in (FORGET, BATCH_FORGET, INTERRUPT):
        reply(unique, error=38)


def serve():
    while True:
        try:
            request = os.read(device, 1 << 20)
        except OSError:
            return  # it was unmounted
        length, operation, unique, node = struct.unpack_from("=IIQQ", request)
        body = request[40:length]
        if operation == INIT:
            major, minor, readahead, _ = struct.unpack_from("=IIII", body)
            reply(unique, struct.pack("=IIIIHHIIHHI28x", 7, 31, readahead, 0, 12, 10, 65536, 1, 16, 0, 0))
            continue
        with lock:
            if operation in hanging or "all" in hanging and operation in WORDS.values():
                waiting.append((operation, unique, node, body))
                lock.notify_all()
                continue
            pause = delay if operation in WORDS.values() else 0
        if pause:
            threading.Timer(pause, answer, (operation, unique, node, body)).start()
        else:
            answer(operation, unique, node, body)


device = os.open("/dev/fuse", os.O_RDWR)
os.chmod(folder, 0o755)
options = "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other" % device
if libc.mount(b"keybroker-test", os.fsencode(folder), b"fuse.test", 0, options.encode()) != 0:
    raise SystemExit("mount: %s" % os.strerror(ctypes.get_errno()))
threading.Thread(target=serve, daemon=True).start()
print("mounted", flush=True)
for line in sys.stdin:
    command, *words = line.split()
    with lock:
        if command == "hang":
            hanging = {WORDS.get(word, word) for word in words}
        elif command == "delay":
            delay = float(words[0])
        elif command == "write":
            content, inode, changed = words[0].encode(), inode + 1, time.time_ns()
        elif command == "go":
            hanging, delay, late = set(), 0.0, waiting
            waiting = []
            for request in late:
                answer(*request)
        elif command == "wait":  # until something hangs
            while not waiting:
                lock.wait()
    print(command, flush=True)
os.close(device)  # all requests fail from here on
libc.umount2(os.fsencode(folder), 2)
