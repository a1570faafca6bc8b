"""inject.py PID FILE...: makes the system calls that the lines of standard input name, in another process, as
whoever took that process over would, and prints what each answered: "ok", or the name of an errno. A line is a
name, the call's number or name, and its arguments: numbers, or texts in quotes. For x86-64."""
import ctypes, errno, os, re, shlex, signal, sys

ATTACH, DETACH, SINGLESTEP, GETREGS, SETREGS = 16, 17, 9, 12, 13
ANY_THREAD = 0x40000000  # __WALL
REGISTERS = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss "
             "fs_base gs_base ds es fs gs").split()
NUMBERS = dict(
    read=0, fcntl=72, open=2, mmap=9, mprotect=10, ioctl=16, socket=41, connect=42, clone=56, fork=57, vfork=58, execve=59, kill=62,
    rename=82, mkdir=83, link=86, unlink=87, symlink=88, chmod=90, chown=92, ptrace=101, setuid=105, capset=126, prctl=157,
    chroot=161, mount=165, reboot=169, init_module=175, unshare=272, openat=257, mknodat=259, add_key=248, setns=308,
    process_vm_readv=310, getpid=39, open_by_handle_at=304, bpf=321, memfd_create=319, userfaultfd=323, execveat=322,
    clone3=435, io_uring_setup=425, inotify_add_watch=254, inotify_init1=294, fanotify_init=300, perf_event_open=298, pidfd_send_signal=424, tgkill=234, setresuid=117, truncate=76)


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in REGISTERS]


libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def ptrace(request, pid, data=None):
    if libc.ptrace(request, pid, None, data) < 0:
        raise OSError(ctypes.get_errno(), "ptrace %d" % request)


def syscall_instruction(pid):
    """Where the C library has `syscall` (0F 05) in executable memory."""
    with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as memory:
        for line in maps:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) r-xp .*/libc\.so", line)
            if found:
                begin, end = (int(number, 16) for number in found.groups())
                memory.seek(begin)
                return begin + memory.read(end - begin).index(b"\x0f\x05")
    raise SystemExit("no libc in the process")


def main():
    pid = int(sys.argv[1])
    ptrace(ATTACH, pid)
    os.waitpid(pid, ANY_THREAD)
    try:
        instruction = syscall_instruction(pid)
        saved = Registers()
        ptrace(GETREGS, pid, ctypes.byref(saved))
        memory = open("/proc/%d/mem" % pid, "r+b", 0)
        for line in sys.stdin:
            name, call, *arguments = shlex.split(line, posix=False)
            room = saved.rsp - 16384
            values = []
            for argument in arguments:
                if argument.startswith('"'):
                    text = os.fsencode(argument[1:-1]) + b"\0"
                    memory.seek(room)
                    memory.write(text)
                    values.append(room)
                    room += len(text) + 8
                else:
                    values.append(int(argument, 0) & (1 << 64) - 1)
            values += [0] * (6 - len(values))
            registers = Registers.from_buffer_copy(saved)
            registers.rip, registers.orig_rax = instruction, (1 << 64) - 1
            registers.rax = NUMBERS[call] if call in NUMBERS else int(call)
            (registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9) = values
            ptrace(SETREGS, pid, ctypes.byref(registers))
            ptrace(SINGLESTEP, pid)
            _, status = os.waitpid(pid, ANY_THREAD)
            if os.WIFEXITED(status) or os.WIFSIGNALED(status) or os.WSTOPSIG(status) != signal.SIGTRAP:
                raise SystemExit("%s: the process stopped with status %#x" % (name, status))
            ptrace(GETREGS, pid, ctypes.byref(registers))
            result = ctypes.c_longlong(registers.rax).value
            print(name, "ok" if result >= 0 else errno.errorcode.get(-result, str(result)))
        ptrace(SETREGS, pid, ctypes.byref(saved))
    finally:
        ptrace(DETACH, pid)


main()
