"""Keeps a directory busy: hold.py DIRECTORY FILE UID

Lists the directory into memory that FILE backs. The kernel holds the directory's lock until it has written there, and
FILE's file system can take as long as it likes. UID needs no right but to list the directory. Prints `refused` if it has
not even that.
"""
import ctypes, mmap, os, sys

# The file belongs to somebody else in the test; it stands for one of UID's own.
file = os.open(sys.argv[2], os.O_RDONLY)
number = int(sys.argv[3])
os.setgroups([])
os.setresgid(number, number, number)
os.setresuid(number, number, number)
try:
    directory = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
except PermissionError:
    print("refused", flush=True)
    raise SystemExit
# The kernel maps whole pages.
memory = mmap.mmap(file, 1, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
SYS_GETDENTS64 = {"x86_64": 217, "aarch64": 61}[os.uname().machine]
ctypes.CDLL(None).syscall(SYS_GETDENTS64, directory, ctypes.c_void_p(address), 4096)
