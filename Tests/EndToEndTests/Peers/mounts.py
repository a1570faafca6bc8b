"""mounts.py FOLDER NUMBER: what somebody may do who has fusermount3, with empty file systems: NUMBER mounts with long paths
below FOLDER.

Each line on standard input is answered by a line on standard output:
  once     mounts and unmounts another one
  forever  does so again and again, until the next line
"""
import ctypes, os, select, sys

libc = ctypes.CDLL(None, use_errno=True)
folder, number = sys.argv[1], int(sys.argv[2])


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "mount")


def mount(path):
    check(libc.mount(b"x", os.fsencode(path), b"tmpfs", 0, b"size=4k"))


def mount_another():
    mount(another)
    check(libc.umount2(os.fsencode(another), 0))


mount(folder)
deep = folder + ("/" + "a" * 250) * 14
os.makedirs(deep)
for index in range(number):
    os.mkdir(f"{deep}/{index}")
    mount(f"{deep}/{index}")
another = deep + "/another"
os.mkdir(another)
print("mounted", flush=True)
while line := sys.stdin.readline():
    mount_another()
    print("done", flush=True)
    while line == "forever\n" and not select.select([sys.stdin], [], [], 0.002)[0]:
        mount_another()
libc.umount2(os.fsencode(folder), 2)
