"""without.py WORD,WORD... PROGRAM ARGUMENT...: runs a program as if the kernel had less: pidfd (no SO_PEERPIDFD), landlock,
seccomp, inotify, rights (no SO_PASSRIGHTS), proc (an empty /proc). The system calls fail as they do on a kernel that lacks them."""
import ctypes, errno, os, platform, struct, sys

X86 = platform.machine() == "x86_64"
ARCHITECTURE = 0xC000003E if X86 else 0xC00000B7
LOAD, EQUAL, RETURN, ALLOW, ERRNO = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050000
# The call's number, the argument that decides and its value (or none), and the error.
RULES = {
    "pidfd": (55 if X86 else 209, (2, 77), errno.ENOPROTOOPT),
    "landlock": (444, None, errno.ENOSYS),
    "seccomp": (157 if X86 else 167, (0, 22), errno.EINVAL),
    "rights": (54 if X86 else 208, (2, 83), errno.ENOPROTOOPT),
    "inotify": (294 if X86 else 26, None, errno.EMFILE),
}
libc = ctypes.CDLL(None, use_errno=True)


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def instruction(code, value, yes=0, no=0):
    return struct.pack("=HBBI", code, yes, no, value)


code = instruction(LOAD, 4) + instruction(EQUAL, ARCHITECTURE, 1, 0) + instruction(RETURN, ALLOW)
words = sys.argv[1].split(",")
for number, argument, error in (RULES[word] for word in words if word != "proc"):
    code += instruction(LOAD, 0) + instruction(EQUAL, number, 0, 3 if argument else 1)
    if argument:
        index, value = argument
        code += instruction(LOAD, 16 + 8 * index) + instruction(EQUAL, value, 0, 1)
    code += instruction(RETURN, ERRNO | error)
code += instruction(RETURN, ALLOW)
program = sys.argv[2]
if "proc" in words:
    if libc.unshare(0x00020000) or libc.mount(b"none", b"/", None, 0x44000, None):
        raise SystemExit("no mount namespace")
    # The program may be a path below /proc.
    program = os.path.realpath(program)
    if libc.mount(b"none", b"/proc", b"tmpfs", 0, None):
        raise SystemExit("no mount")
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(Program(len(code) // 8, code)), 0, 0):
    raise SystemExit("no filter")
os.execv(program, sys.argv[2:])
